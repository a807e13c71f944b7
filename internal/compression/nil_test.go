package compression

import (
	"strings"
	"testing"
)

// Failed constructors return nil interfaces, and not interfaces with a nil pointer.
func TestNilAfterErrors(t *testing.T) {
	for _, method := range []string{"xz", "zstd", "gzip", "bzip2", "br", "none"} {
		if r, err := Decode(method, strings.NewReader(""), 1); err != nil && r != nil {
			t.Errorf("%s: %T and %v", method, r, err)
		}
		if w, err := Encode(method, new(strings.Builder), -100, 0); err != nil && w != nil {
			t.Errorf("%s: %T and %v", method, w, err)
		}
	}
	for _, ext := range []string{".gz", ".xz", ".zst"} {
		if r, err := ByExtension(ext, strings.NewReader("x")); err != nil && r != nil {
			t.Errorf("%s: %T and %v", ext, r, err)
		}
	}
}
