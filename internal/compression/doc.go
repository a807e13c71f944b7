// Package compression encodes and decodes compressed streams, and recognises the method of a stream by its first
// bytes.
//
// The methods are zstd, xz, gzip, bzip2, lzma, lz4 and brotli. Streams of the first six begin with
// distinct bytes. Brotli streams do not, so any other stream is decoded as brotli, and accepted if the result begins
// with the expected bytes. An xz stream may have filters for machine code (BCJ, except the one for
// RISC-V) and the delta filter.
//
// Decoders have limits: the window of a stream is at most 128 MiB, which is also the limit of the zstd command.
// No decoder allocates a larger window than the expected size of the contents. Guards reduce the window of zstd and lz4
// before the decoder reads it.
//
// [NewReader] decodes a stream of an unknown method. [Decode] and [Encode] get the name of the method, which the
// narinfo of an archive has.
package compression
