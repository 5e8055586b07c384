"""A deployment on Azure is where its SKU says, not where its resource is."""

from __future__ import annotations

import pytest

from tundish.core.place import Place, Reach
from tundish.policy.azure_places import place_of_sku

MANAGED = "ProvisionedManaged"


@pytest.mark.parametrize("sku", ["GlobalStandard", "GlobalBatch", "GlobalProvisioned", f"Global{MANAGED}"])
@pytest.mark.parametrize("region", [None, "swedencentral", "no-such-region"])
def test_a_global_sku_is_global_whatever_the_region_says(sku: str, region: str | None) -> None:
    assert place_of_sku(sku, region, "x") == Place(name="x", reach=Reach.GLOBAL, owner="microsoft")


@pytest.mark.parametrize("sku", ["DataZoneStandard", "DataZoneBatch", f"DataZone{MANAGED}", "datazonestandard"])
@pytest.mark.parametrize(
    ("region", "zone"),
    [("swedencentral", "EU"), ("westeurope", "EU"), ("Germany West Central", "EU"), ("eastus2", "US")],
)
def test_a_data_zone_sku_is_anywhere_in_the_zone(sku: str, region: str, zone: str) -> None:
    expected = Place(name="x", reach=Reach.ZONE, owner="microsoft", geography=zone)
    assert place_of_sku(sku, region, "x") == expected


@pytest.mark.parametrize("sku", ["Standard", "Provisioned", MANAGED])
@pytest.mark.parametrize(
    ("region", "country"),
    [("swedencentral", "SE"), ("westeurope", "NL"), ("northeurope", "IE"), ("uksouth", "GB"), ("westus3", "US")],
)
def test_a_regional_sku_is_in_the_region(sku: str, region: str, country: str) -> None:
    expected = Place(name="x", reach=Reach.REGION, owner="microsoft", geography=country)
    assert place_of_sku(sku, region, "x") == expected


@pytest.mark.parametrize("region", ["uksouth", "switzerlandnorth", "norwayeast", "japaneast", "usgovvirginia"])
def test_a_data_zone_sku_outside_both_zones_is_refused(region: str) -> None:
    with pytest.raises(ValueError, match="in no data zone"):
        place_of_sku("DataZoneStandard", region, "x")


@pytest.mark.parametrize("sku", ["Standard", "DataZoneStandard"])
@pytest.mark.parametrize("region", [None, "", "  "])
def test_a_missing_region_is_refused_where_it_counts(sku: str, region: str | None) -> None:
    with pytest.raises(ValueError, match="Add the region"):
        place_of_sku(sku, region, "x")


@pytest.mark.parametrize(
    ("sku", "region", "message"),
    [
        ("GlobalStandart", "eastus", "Did you mean 'GlobalStandard'"),
        ("Serverless99", "eastus", "Where the SKU 'Serverless99' computes is not known. Known: DataZoneBatch"),
        ("", "eastus", "is not known"),
        ("Standard", "swedencentrall", "region 'swedencentrall' is not known. Did you mean 'swedencentral'"),
        ("DataZoneStandard", "mars", "region 'mars' is not known"),
    ],
)
def test_what_is_not_known_is_refused_and_not_guessed(sku: str, region: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        place_of_sku(sku, region, "x")
