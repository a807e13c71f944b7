package compression

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
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
