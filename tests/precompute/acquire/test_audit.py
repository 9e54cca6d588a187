"""The audit names what catalogues lack, by the rhythm that it learns from the passes they list, and raises no false alarm."""

from datetime import UTC, date, datetime

from terrazzo.precompute.acquire.area import from_box
from terrazzo.precompute.acquire.audit import Audit, Sighting, compare, sighting
from terrazzo.precompute.acquire.rhythm import Pass
from terrazzo.precompute.acquire.search import Query
from tests.world.passes import Made, Taken, item_of

REAL = (
    "S2A_MSIL2A_20231008T175231_N0509_R141_T13TDE_20231008T233154",
    "S2A_MSIL2A_20231107T144731_N0509_R139_T20QRF_20231107T182159",
    "S2A_MSIL2A_20241202T141711_N0511_R010_T20JNS_20241202T194400",
    "S2B_MSIL2A_20190629T212529_N0212_R043_T06VVN_20201006T080531",
    "S2B_MSIL2A_20200322T074609_N0500_R135_T36NYH_20230612T214223",
    "S2B_MSIL1C_20240206T131259_N0510_R081_T27VWK_20240206T133903",
    "S2B_MSIL2A_20250211T110109_N0511_R094_T30UWU_20250211T120313",
    "S2C_MSIL2A_20260316T142941_N0512_R139_T26WME_20260316T174811",
    "S2C_MSIL2A_20260527T014651_N0512_R017_T55WFR_20260527T042005",
    "S2A_MSIL2A_20250513T104041_N0511_R008_T32TLT_20250513T143716",
)
"""Products of ESA over four continents; the last is of S2A's moved orbit."""
PLACES = (("33TWL", 122), ("33TWL", 79), ("33TWM", 122), ("33TWM", 79))
YEAR = (date(2024, 1, 1), date(2024, 12, 31))
EVERYWHERE = Query(from_box(-180, -80, 180, 84), whole=True)
ES, CDSE = "earth-search", "cdse"
LATER = datetime(2026, 2, 1, tzinfo=UTC)


def passes(taken: list[Taken]) -> list[Pass]:
    return [Pass(t.when, t.satellite, t.orbit, t.tile) for t in taken]


def seen(archive: str, made: list[Made]) -> list[Sighting]:
    """What an archive's own Items say of products."""
    found = [sighting(item_of(archive, m), archive, EVERYWHERE) for m in made]
    assert all(isinstance(s, Sighting) for s in found)
    return [s for s in found if isinstance(s, Sighting)]


def audited(sightings: list[Sighting], now: datetime = LATER, days: tuple[date, date] = YEAR) -> Audit:
    return compare(sightings, (ES, CDSE), *days, now)
