"""What every implementation of a port must do, as checks that it runs through.

A kit is made for one implementation, and `run_check` runs one of its checks:

    @pytest.mark.parametrize("name", HypervisorConformance.checks())
    def test_my_hypervisor_conforms(name: str) -> None:
        kit = HypervisorConformance(driver, member=member, source=source, target=target)
        asyncio.run(run_check(kit, name))

Nothing here needs a test framework.
"""

from entourage.ports.conformance.guard import GuardConformance, Guarded
from entourage.ports.conformance.hypervisor import HypervisorConformance
from entourage.ports.conformance.ingress import IngressConformance
from entourage.ports.conformance.kit import Conformance, NotConformingError, run_check
from entourage.ports.conformance.segments import SegmentsConformance

__all__ = [
    "Conformance",
    "GuardConformance",
    "Guarded",
    "HypervisorConformance",
    "IngressConformance",
    "NotConformingError",
    "SegmentsConformance",
    "run_check",
]
