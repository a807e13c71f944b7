// Package compression encodes and decodes compressed streams, and recognises the method of a stream by its first
// bytes.
//
// The methods are zstd, xz, gzip, bzip2, lzma, lz4 and brotli. Streams of the first six begin with
// distinct bytes. Brotli streams do not, so any other stream is decoded as brotli, and accepted if the result begins
// with the expected bytes. An xz stream may have filters for machine code (BCJ, except the ones for ARM64 and
// RISC-V) and the delta filter.
//
// Decoders have limits: the window of a stream is at most 128 MiB, which is also the limit of the zstd command.
// Guards reduce the window to the expected size of the contents before the decoder allocates it.
//
// [NewReader] decodes a stream of an unknown method. [Decode] and [Encode] get the name of the method, which the
// narinfo of an archive has.
package compression
