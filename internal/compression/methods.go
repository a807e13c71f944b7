package compression

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// A MethodError reports that a compression method is not supported. It is
// [errors.ErrUnsupported].
type MethodError struct {
	Method string
	What   string // "compressing" or "decompressing"
}

func (e *MethodError) Error() string {
	return fmt.Sprintf("%s with the method %q is not supported", e.What, e.Method)
}

// Is reports whether target is [errors.ErrUnsupported].
func (e *MethodError) Is(target error) bool { return target == errors.ErrUnsupported }

// Decode returns a reader of the decompressed contents of src. The method has the name that Nix uses: none, xz,
// zstd, bzip2, gzip, lzma, lz4 or br. The reader need not be closed. If a stream begins like another of these
// methods, except none and br, it is decoded as that, as in Nix.
//
// The contents should have at most size bytes. The decoder allocates no larger window than that, even if the stream
// asks for it. A back-reference beyond it is an error, but longer contents are not.
//
// The error is a [*MethodError], or an error in the header of the stream, which some decoders read immediately.
func Decode(method string, src io.Reader, size uint64) (io.Reader, error) {
	switch method {
	case "none", "", "identity":
		return src, nil
	case "br":
		return brotli.NewReader(src), nil
	}
	for _, named := range formats {
		if named.method != method {
			continue
		}
		buffered := bufio.NewReaderSize(src, guardBuffer)
		head, _ := buffered.Peek(maxMagic) // the next read returns the error again
		for _, f := range formats {
			if bytes.HasPrefix(head, []byte(f.magic)) {
				return f.open(buffered, size)
			}
		}
		return named.open(buffered, size)
	}
	return nil, &MethodError{method, "decompressing"}
}

// Encode returns a writer that compresses to dst by a method: none, xz, zstd, gzip or br. Level 0 is the default of
// the method; xz has no others. The stream is complete after the writer was closed, which does not close dst. Equal
// contents give equal streams.
func Encode(method string, dst io.Writer, level int) (io.WriteCloser, error) {
	switch method {
	case "none", "", "identity":
		return plainWriter{dst}, nil
	case "xz":
		if level != 0 {
			return nil, errors.New("compression levels are not supported with the method \"xz\"")
		}
		return orNil[io.WriteCloser](xz.NewWriter(dst))
	case "zstd":
		return orNil[io.WriteCloser](newZstdWriter(dst, level))
	case "gzip":
		if level == 0 {
			level = gzip.DefaultCompression
		}
		return orNil[io.WriteCloser](gzip.NewWriterLevel(dst, level))
	case "br":
		if level == 0 {
			level = brotli.DefaultCompression
		}
		return brotli.NewWriterV2(dst, level), nil
	}
	return nil, &MethodError{method, "compressing"}
}

// CanEncode reports whether [Encode] supports the method.
func CanEncode(method string) bool {
	_, err := Encode(method, io.Discard, 0)
	return err == nil
}

// encoders are idle zstd encoders, by level. An encoder has megabytes of buffers, which are expensive to
// allocate for each small archive.
var encoders [zstd.SpeedBestCompression + 1]sync.Pool

// A zstdWriter returns its encoder to the pool when it is closed.
type zstdWriter struct {
	*zstd.Encoder
	level zstd.EncoderLevel
}

func newZstdWriter(dst io.Writer, level int) (*zstdWriter, error) {
	speed := zstd.SpeedDefault
	if level != 0 {
		speed = zstd.EncoderLevelFromZstd(level)
	}
	if e, ok := encoders[speed].Get().(*zstd.Encoder); ok {
		e.Reset(dst)
		return &zstdWriter{e, speed}, nil
	}
	e, err := zstd.NewWriter(dst, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	return &zstdWriter{e, speed}, err
}

// Close completes the stream. It must be called only once.
func (w *zstdWriter) Close() error {
	err := w.Encoder.Close()
	w.Encoder.Reset(nil)
	encoders[w.level].Put(w.Encoder)
	return err
}

type plainWriter struct{ io.Writer }

// Close does nothing.
func (plainWriter) Close() error { return nil }
