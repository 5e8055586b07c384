"""Where a deployment on Azure computes: it follows from the SKU, and from the region only where the SKU says so.

From Microsoft's page on deployment types: global ones may be processed in any region, data-zone ones anywhere in the
zone (US or EU) that the resource's region belongs to, and only the regional ones in that region. What is not listed
here is refused rather than guessed.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from tundish.core.place import Place, Reach

_REACH_OF_SKU: Mapping[str, Reach] = {
    "GlobalStandard": Reach.GLOBAL,
    "GlobalBatch": Reach.GLOBAL,
    "GlobalProvisioned": Reach.GLOBAL,
    "GlobalProvisionedManaged": Reach.GLOBAL,
    "DeveloperTier": Reach.GLOBAL,  # without any data residency
    "DataZoneStandard": Reach.ZONE,
    "DataZoneBatch": Reach.ZONE,
    "DataZoneProvisioned": Reach.ZONE,
    "DataZoneProvisionedManaged": Reach.ZONE,
    "Standard": Reach.REGION,
    "Provisioned": Reach.REGION,
    "ProvisionedManaged": Reach.REGION,
}
_REGIONS: Mapping[str, str] = {
    "AE": "uaecentral uaenorth",
    "AT": "austriaeast",
    "AU": "australiacentral australiacentral2 australiaeast australiasoutheast",
    "BE": "belgiumcentral",
    "BR": "brazilsouth brazilsoutheast",
    "CA": "canadacentral canadaeast",
    "CH": "switzerlandnorth switzerlandwest",
    "CL": "chilecentral",
    "DE": "germanynorth germanywestcentral",
    "DK": "denmarkeast",
    "ES": "spaincentral",
    "FR": "francecentral francesouth",
    "GB": "uksouth ukwest",
    "HK": "eastasia",
    "ID": "indonesiacentral",
    "IE": "northeurope",
    "IL": "israelcentral",
    "IN": "centralindia southindia westindia jioindiacentral jioindiawest",
    "IT": "italynorth",
    "JP": "japaneast japanwest",
    "KR": "koreacentral koreasouth",
    "MX": "mexicocentral",
    "MY": "malaysiawest",
    "NL": "westeurope",
    "NO": "norwayeast norwaywest",
    "NZ": "newzealandnorth",
    "PL": "polandcentral",
    "QA": "qatarcentral",
    "SE": "swedencentral swedensouth",
    "SG": "southeastasia",
    "US": (
        "centralus eastus eastus2 northcentralus southcentralus westcentralus westus westus2 westus3 "
        "usgovarizona usgovtexas usgovvirginia"
    ),
    "ZA": "southafricanorth southafricawest",
}
"""By the ISO 3166 code of the country that they are in."""
_GEOGRAPHY_OF_REGION = {region: country for country, regions in _REGIONS.items() for region in regions.split()}
_ZONES: Mapping[str, str] = {"US": "US", "EU": "AT BE DE DK ES FR IE IT NL PL SE"}
"""Microsoft's data zones, and the countries whose regions belong to them."""
_ZONE_OF_GEOGRAPHY = {country: zone for zone, countries in _ZONES.items() for country in countries.split()}
_WITHOUT_ZONE = frozenset(("usgovarizona", "usgovtexas", "usgovvirginia"))
"""In the country, and not in its data zone: a cloud apart."""
_SKUS = {name.casefold(): name for name in _REACH_OF_SKU}
OWNER = "microsoft"


def place_of_sku(sku: str, region: str | None, name: str) -> Place:
    """The place of a deployment with this SKU, on a resource in this region, under the given name.

    Args:
        sku: as Azure's control plane has it: `GlobalStandard`, `DataZoneStandard`, `Standard`, …; in any case.
        region: Azure's name of it, `swedencentral` or `Sweden Central`; needed unless the SKU is a global one.
        name: of the place.

    Raises:
        ValueError: an SKU or a region that is not known, or none where one is needed; the message says what to do.
    """
    known = _SKUS.get(sku.strip().casefold())
    if known is None:
        raise ValueError(f"Where the SKU '{sku}' computes is not known.{_near(sku, _REACH_OF_SKU)}")
    reach = _REACH_OF_SKU[known]
    if reach is Reach.GLOBAL:
        return Place(name=name, reach=reach, owner=OWNER)
    geography, wanted = _geography(known, region)
    if reach is Reach.ZONE:
        zone = None if wanted in _WITHOUT_ZONE else _ZONE_OF_GEOGRAPHY.get(geography)
        if zone is None:
            raise ValueError(
                f"The region '{region}' is in no data zone (there are EU and US), so the SKU '{known}' cannot "
                "be there. Correct the SKU or the region."
            )
        geography = zone
    return Place(name=name, reach=reach, owner=OWNER, geography=geography)


def _geography(sku: str, region: str | None) -> tuple[str, str]:
    wanted = (region or "").replace(" ", "").casefold()
    if not wanted:
        raise ValueError(f"Where the SKU '{sku}' computes depends on the region. Add the region of the Azure resource.")
    geography = _GEOGRAPHY_OF_REGION.get(wanted)
    if geography is None:
        raise ValueError(f"The Azure region '{region}' is not known.{_near(wanted, _GEOGRAPHY_OF_REGION)}")
    return geography, wanted


def _near(wanted: str, known: Mapping[str, object]) -> str:
    folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(wanted.strip().casefold(), folded, n=1)
    return f" Did you mean '{folded[close[0]]}'?" if close else f" Known: {', '.join(sorted(known))}."
