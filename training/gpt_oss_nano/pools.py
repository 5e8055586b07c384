"""Words that the dialogues are made of."""

from __future__ import annotations

NAMES = """
Ada Alan Grace Linus Margaret Dennis Barbara Ken Radia Tim Hedy Claude Emmy Carl Sofia Leon Maria Ivan Anna Peter Lucy
Tom Emma Noah Mia Liam Olivia Lucas Sarah David Laura Daniel Julia Simon Nina Paul Clara Oscar Ella Hugo Alice Bob Carol
Dave Eve Frank Heidi Judy Mallory Oliver Peggy Rupert Sybil Trent Victor Walter Jane John Mary James Robert Linda Susan
Jessica Karen Lisa Nancy Betty Sandra Ashley Kim Donna Emily Michelle Amanda Melissa Deborah Rebecca Sharon Cynthia
Kathleen Amy Angela Shirley Brenda Pamela Nicole Samantha Katherine Christine Helen Debra Rachel Carolyn Janet Virginia
Heather Diane Julie Joyce Victoria Kelly Christina Joan Evelyn Lauren Judith Andrea Hannah Megan Cheryl Martha Madison
Teresa Gloria Sara Janice Kathryn Jean Abigail Marie Denise Sophia Priya Wei Yuki Omar Fatima Chen Hiroshi Ingrid Lars
Bjorn Pedro Luis Carlos Juan Diego Ahmed Ali Hassan Leila Amir Zara Sven Olga Igor Natasha Boris Max Sam Alex Chris Pat
Charlie Jack Harry George William Henry Edward Arthur Fred Martin Thomas Michael Mark Luke Matthew Andrew Philip Stephen
Kevin Brian Gary Eric Jason Ryan Jacob Nathan Adam Zoe Chloe Ruby Rose Lily Daisy Ivy Violet Hazel Mike Joe Ben Dan Nick
Steve Greg Josh Kate Liz Sue Ann Beth Anton Felix Klaus Stefan Jan Erik Nils Greta Petra Monika Giulia Marco Luca Paolo
""".split()

SURNAMES = """
Lovelace Turing Hopper Smith Jones Brown Miller Davis Wilson Moore Taylor Anderson Thomas Jackson White Harris Martin
Thompson Garcia Lewis Walker Hall Young King Wright Scott Green Baker Adams Nelson Carter Mitchell Roberts Turner Phillips
Campbell Parker Evans Edwards Collins Stewart Morris Rogers Reed Cook Morgan Bell Murphy Bailey Cooper Kelly Howard Ward
""".split()

CITIES = """
Paris|London|Berlin|Madrid|Rome|Vienna|Oslo|Stockholm|Helsinki|Copenhagen|Amsterdam|Brussels|Lisbon|Dublin|Prague|Warsaw|
Budapest|Athens|Zurich|Geneva|Bern|Munich|Hamburg|Frankfurt|Cologne|Milan|Naples|Venice|Florence|Barcelona|Valencia|
Seville|Porto|Lyon|Marseille|Nice|Moscow|Kiev|Istanbul|Ankara|Cairo|Lagos|Nairobi|Tunis|Casablanca|Tokyo|Osaka|Kyoto|
Seoul|Beijing|Shanghai|Singapore|Bangkok|Hanoi|Manila|Jakarta|Delhi|Mumbai|Sydney|Melbourne|Perth|Auckland|Toronto|
Montreal|Vancouver|Ottawa|Boston|Chicago|Seattle|Denver|Dallas|Houston|Austin|Miami|Atlanta|Phoenix|Portland|Detroit|
Philadelphia|Baltimore|Lima|Bogota|Bogotá|Santiago|Havana|Dubai|Doha|Riyadh|Tehran|Baghdad|Edinburgh|Glasgow|Manchester|
Liverpool|Leeds|Bristol|Cardiff|Belfast|Oxford|Cambridge|New York|San Francisco|Los Angeles|Hong Kong|Buenos Aires|
Mexico City|Cape Town|New Delhi|Tel Aviv|Las Vegas|San Diego|Rio de Janeiro|Kuala Lumpur|Washington|NYC|LA|Salt Lake City|
New York City|Stuttgart|Leipzig|Dresden|Graz|Salzburg|Basel|Turin|Bologna|Krakow|Gdansk|Riga|Vilnius|Tallinn|Reykjavik
""".replace("\n", "").split("|")

REGIONS = """
France|Germany|Spain|Italy|UK|USA|CA|NY|TX|WA|MA|IL|Japan|China|India|Canada|Australia|Brazil|Austria|Switzerland|Poland|
Norway|Sweden|Portugal|Ireland|Greece|Colombia|Mexico|Turkey|Egypt|United States|United Kingdom
""".replace("\n", "").split("|")

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Spain": "Madrid", "Italy": "Rome", "Austria": "Vienna", "Norway": "Oslo",
    "Sweden": "Stockholm", "Finland": "Helsinki", "Denmark": "Copenhagen", "Belgium": "Brussels", "Portugal": "Lisbon",
    "Ireland": "Dublin", "Poland": "Warsaw", "Hungary": "Budapest", "Greece": "Athens", "Switzerland": "Bern",
    "Egypt": "Cairo", "Kenya": "Nairobi", "Japan": "Tokyo", "China": "Beijing", "India": "New Delhi", "Canada": "Ottawa",
    "Australia": "Canberra", "Brazil": "Brasília", "Peru": "Lima", "Cuba": "Havana", "Russia": "Moscow",
    "Turkey": "Ankara", "England": "London", "the UK": "London", "the Netherlands": "Amsterdam", "the USA": "Washington",
    "the United States": "Washington", "Mexico": "Mexico City", "Argentina": "Buenos Aires", "Thailand": "Bangkok",
    "South Korea": "Seoul", "Iran": "Tehran", "Iraq": "Baghdad", "Ukraine": "Kyiv", "Iceland": "Reykjavik",
}  # fmt: skip

OPPOSITES = """
hot cold|big small|good bad|up down|left right|black white|day night|fast slow|old new|high low|long short|open closed|
happy sad|light dark|wet dry|rich poor|full empty|hard soft|early late|yes no|true false|inside outside|first last
""".replace("\n", "").split("|")

FACTS = {
    "How many days are in a week?|How many days has a week?|How many days does a week have?|days in a week?": "A week has 7 days.",
    "How many months are in a year?|How many months has a year?|months in a year?|How many months does a year have?": "A year has 12 months.",
    "How many hours are in a day?|How many hours has a day?|hours in a day?|How many hours does a day have?": "A day has 24 hours.",
    "How many minutes are in an hour?|How many minutes has an hour?|minutes in an hour?|How many minutes does an hour have?": "An hour has 60 minutes.",
    "How many days are in a year?|How many days has a year?|days in a year?|How many days does a year have?": "A year has 365 days.",
    "How many legs does a spider have?|How many legs has a spider?|How many legs do spiders have?|Legs of a spider?|Number of legs of a spider?": "A spider has 8 legs.",
    "How many legs does a dog have?|How many legs has a dog?|How many legs has a cat?|How many legs do dogs have?|How many legs do cats have?|How many legs does a cat have?": "It has 4 legs.",
    "List the days of the week|What are the days of the week?|Name the days of the week|Name the seven days of the week":
        "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday.",
    "List the months|What are the months of the year?|Name the months|List the months of the year":
        "January, February, March, April, May, June, July, August, September, October, November, December.",
    "Name three colors|List three colors|Tell me three colors|Give me three colours|Name some colors":
        "Red, green and blue.",
    "What color is the sky?|What's the color of the sky?|Color of the sky?|Tell me the color of the sky|Which colour has the sky?|What colour is the sky?|the color of the sky?":
        "The sky is blue.",
    "What color is grass?|What color is the grass?|the color of grass?|Color of grass?|What colour has grass?|Which color has grass?|What colour is the grass?": "Grass is green.",
    "What color is snow?|What color is the snow?|the color of snow?|Color of snow?|What colour has snow?|Which colour has snow?|What colour is the snow?": "Snow is white.",
    "What is the largest planet?|What's the biggest planet?|Which planet is the largest?|Largest planet?|What is the biggest planet?|Name the largest planet|Which planet is the biggest?|Biggest planet?": "Jupiter is the largest planet.",
    "Who wrote Hamlet?|Author of Hamlet?|Tell me who wrote Hamlet|Romeo and Juliet is by whom?|Who is the author of Hamlet?|Who wrote Romeo and Juliet?": "William Shakespeare wrote it.",
    "Who painted the Mona Lisa?|Painter of the Mona Lisa?|Tell me who painted the Mona Lisa|Who made the Mona Lisa?|Who is the painter of the Mona Lisa?": "Leonardo da Vinci painted it.",
    "What is H2O?|H2O?|What's H2O?|Explain H2O|What does H2O mean?|What is the formula of water?": "H2O is water.",
    "What is the meaning of life?|What's the meaning of life?|meaning of life?|the meaning of life, the universe and everything?":
        "42, they say.",
    "Say the alphabet|What is the alphabet?|Recite the alphabet|List the letters of the alphabet":
        "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z",
}  # fmt: skip

WORDS = """
apple bread chair desk eagle flower garden house island jacket kitchen lemon mountain night ocean paper queen river stone
table umbrella village water window yellow zebra book cloud door earth fire glass hand iron juice key lamp moon nose orange
pencil rain sun tree wind winter summer spring autumn cat dog bird fish horse cow sheep mouse bear wolf fox lion tiger red
blue green black white pink brown milk cheese butter egg eggs rice soup salt sugar tea coffee cake banana cherry grape peach
plum pear potato tomato carrot onion car train bus plane ship boat bike road bridge city town street school office shop
market bank church hotel park beach forest lake field hill sky star music song dance film game ball team player coach ticket
letter phone radio clock watch ring shoe shirt coat hat dress bag box cup plate knife fork spoon bed pillow blanket mirror
wall floor roof stairs one two three four five six seven eight nine ten
""".split()

ROOMS = """
kitchen|bathroom|bedroom|living room|hallway|garage|office|basement|garden|attic|dining room|hall|studio|nursery|balcony
""".replace("\n", "").split("|")

TOPICS = """
quantum physics|the French Revolution|black holes|photosynthesis|the stock market|World War II|machine learning|
the Roman Empire|climate change|Shakespeare|evolution|relativity|the moon landing|dinosaurs|volcanoes|the human brain|DNA|
vaccines|economics|inflation|blockchain|Bitcoin|Python|JavaScript|Rust|Kubernetes|Docker|SQL|recursion|sorting algorithms|
neural networks|transformers|the internet|electric cars|football|chess|cooking pasta|gardening|yoga|meditation|the Beatles|
Mozart|jazz|impressionism|Picasso|Buddhism|philosophy|Kant|democracy|the United Nations|taxes|mortgages|diabetes|the heart|
sleep|nutrition|gravity|magnets|electricity|batteries|solar panels|hurricanes|earthquakes|the ocean|whales|bees|ants|dogs|
cats|birds|the universe|Mars|the sun|time travel|artificial intelligence|robots|cryptography|databases|operating systems|
compilers|Linux|Git|regular expressions|functional programming|calculus|algebra|geometry|statistics|probability|
prime numbers|the Olympics|Napoleon|Einstein|Newton|Cleopatra|the Renaissance|the Cold War|pizza|wine|coffee|chocolate|
large language models|GPUs|AI|OpenAI|Microsoft|Google|Azure|the weather|my computer|a website|an app|a startup|love|money|
happiness|autumn|winter|the sea|a dragon|a robot|a cat|my boss|my mother|a king|the president|the news|the economy|a car
""".replace("\n", "").split("|")

EVENTS = """
science fair|birthday party|dinner|concert|team meeting|workshop|conference|picnic|book club|movie night|wedding|
job interview|project review|football match|yoga class|lunch|trip to the zoo|museum visit|poetry reading|game night|
board meeting|design review|hackathon|garden party|school play|marathon|art show|wine tasting|city tour|piano lesson|
dentist appointment|road trip|barbecue|meetup|standup|party|meeting|festival|opera|theatre play|street fair|book fair
""".replace("\n", "").split("|")

MONTHS = """
January February March April May June July August September October November December
""".split()
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
CONDITIONS = """
sunny cloudy rainy windy snowy foggy clear stormy overcast humid icy hazy mild hot cold warm
""".split()

VERBS = """
get set send search create find list add make show open close start stop read write update delete remove check book buy sell
order cancel schedule call move copy rename upload download share print save load run play pause track count convert
translate calculate compute lookup fetch query publish archive approve reject assign invite notify remind record measure
scan lock unlock enable disable turn switch cook clean paint repair charge pay refund rent reserve deploy restart restore
backup merge split join sort filter log report review rate follow mute pin mark tag export import validate verify
""".split()
NOUNS = """
user order invoice ticket file folder report customer product account message note task project document image video song
playlist contact event meeting room table reservation flight hotel car device light door alarm camera sensor server database
backup branch issue comment review page article book recipe package shipment payment subscription license member team group
channel post photo album calendar event list item record row job build service model dataset query form survey
""".split()
