// Package compression encodes and decodes compressed streams, and tells by their first
// bytes how they are compressed.
//
// Archives travel compressed in seven ways: zstd, xz, gzip, bzip2, lzma, lz4 and brotli. Each of the
// first six begins with bytes of its own. Brotli has none, so a stream is brotli if
// nothing else fits, and what it decodes to begins as it should. An xz stream may have filters
// for machine code (BCJ, but not those for ARM64 and RISC-V) and the delta filter.
//
// Decoders are given limits: none needs more than 128 MiB for its window, which is what
// zstd's own command allows.
//
// [NewReader] decodes a stream of an unknown method. [Decode] and [Encode] get the name of the method, which the narinfo
// of an archive has.
package compression
