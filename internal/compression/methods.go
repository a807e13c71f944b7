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

// A MethodError says that a way of compressing is not known here. It is
// [errors.ErrUnsupported].
type MethodError struct {
	Method string
	What   string // what cannot be done with it
}

func (e *MethodError) Error() string {
	return fmt.Sprintf("%s with the method %q is not supported", e.What, e.Method)
}

// Is reports whether target is [errors.ErrUnsupported].
func (e *MethodError) Is(target error) bool { return target == errors.ErrUnsupported }

// Decode returns a reader of what comes out of src, which was compressed by the method of that name, as
// Nix has it: none, xz, zstd, bzip2, gzip, lzma, lz4 or br. There is nothing to close. If a stream begins
// as a stream of another of these methods, except none and br, the beginning counts, as in Nix.
//
// No more than size bytes should come out. Whatever the stream says that it needs, no
// memory is taken for more than these; a stream that goes further back is an error, but
// one that is longer is not.
//
// The error is a [*MethodError], or what is wrong with the beginning of the stream, which
// some methods read at once.
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
		head, _ := buffered.Peek(longestMagic) // an error comes again
		for _, f := range formats {
			if bytes.HasPrefix(head, []byte(f.magic)) {
				return f.open(buffered, size)
			}
		}
		return named.open(buffered, size)
	}
	return nil, &MethodError{method, "decompressing"}
}

// Encode returns a writer that compresses into dst by the method of that name: none, xz,
// zstd, gzip or br. Level 0 is the usual one of each method; xz has no others here. The
// stream is complete when the writer was closed; dst is not closed. The same bytes are
// always compressed to the same.
func Encode(method string, dst io.Writer, level int) (io.WriteCloser, error) {
	switch method {
	case "none", "", "identity":
		return plainWriter{dst}, nil
	case "xz":
		if level != 0 {
			return nil, errors.New("compressing with xz has no levels here")
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

// CanEncode reports whether [Encode] knows the method.
func CanEncode(method string) bool {
	_, err := Encode(method, io.Discard, 0)
	return err == nil
}

// encoders are those of zstd that are not in use, by their level. They need megabytes,
// which is much for a small archive.
var encoders [zstd.SpeedBestCompression + 1]sync.Pool

// A zstdWriter gives its encoder back when it is closed.
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

// Close completes the stream. It may be called once.
func (w *zstdWriter) Close() error {
	err := w.Encoder.Close()
	w.Encoder.Reset(nil)
	encoders[w.level].Put(w.Encoder)
	return err
}

type plainWriter struct{ io.Writer }

// Close does nothing.
func (plainWriter) Close() error { return nil }
