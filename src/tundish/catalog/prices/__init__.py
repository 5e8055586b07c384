"""What models cost and roughly how good they are, as dated data beside this file; all of it the site's to override."""

from tundish.catalog.prices.local import local_price
from tundish.catalog.prices.price_list import price_of
from tundish.catalog.prices.quality import quality_of

__all__ = ["local_price", "price_of", "quality_of"]
