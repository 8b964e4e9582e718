"""Two-way codecs, one package a wire format, without I/O. `codec` says what each offers."""
