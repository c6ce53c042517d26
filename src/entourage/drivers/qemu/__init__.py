"""QEMU/KVM, controlled over QMP."""
