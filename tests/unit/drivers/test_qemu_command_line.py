"""QEMU's command line, as far as it has to be just so."""

from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from entourage.drivers.qemu.process import identity_arguments, memory_argument
from entourage.operations.examples import example_texts

KIB, MIB = 2**10, 2**20
SIZES = st.integers(1, 2**40)


def as_qemu_takes_it(argument: str) -> int:
    """Bytes that the guest has: QEMU rounds up to 8 KiB (hw/core/machine.c)."""
    assert argument.endswith("K")
    return -(-int(argument[:-1]) * KIB // (8 * KIB)) * 8 * KIB


@given(memory=SIZES)
@example(memory=128 * MIB)
@example(memory=128 * MIB - 4 * KIB)  # QEMU rounds it to 128 MiB
@example(memory=128 * MIB - 1)
def test_a_guest_that_an_old_qemu_emulates_never_has_a_multiple_of_256_kib(memory: int) -> None:
    size = as_qemu_takes_it(memory_argument(memory, accel="tcg", version=(8, 2)))
    assert size % (256 * KIB) != 0
    assert memory <= size <= memory + 16 * KIB


@given(memory=SIZES, of=st.sampled_from([("kvm", (7, 2)), ("tcg", (9, 0)), ("tcg", (10, 0))]))
def test_any_other_guest_has_what_it_was_given(memory: int, of: tuple[str, tuple[int, int]]) -> None:
    accel, version = of
    assert memory <= as_qemu_takes_it(memory_argument(memory, accel=accel, version=version)) <= memory + 8 * KIB


def test_every_member_has_a_uuid_and_a_serial_number_of_its_own_wherever_it_is() -> None:
    _, shop = example_texts().parse()
    found = [identity_arguments(member) for member in shop.members]
    assert found == [identity_arguments(member) for member in shop.members]
    for place in (1, 3):  # of the UUID and the serial number
        assert len({arguments[place] for arguments in found}) == len(shop.members)
    assert [str(UUID(arguments[1])) for arguments in found] == [arguments[1] for arguments in found]
