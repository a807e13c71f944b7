package monitor

import (
	"bytes"
	"testing"

	"pix/wire"
)

// A skimmer ends at the same byte for pieces of every size.
func TestSkimmers(t *testing.T) {
	frames := append(append(wire.AppendUint64(nil, 5), "abcde"...), wire.AppendUint64(nil, 0)...)
	for name, c := range map[string]struct {
		create func() skimmer
		b      []byte
		want   string
	}{
		"frames":  {func() skimmer { return new(frameSkimmer) }, frames, "abcde"},
		"string":  {func() skimmer { return new(stringSkimmer) }, wire.AppendString(nil, "hello"), "hello"},
		"empty":   {func() skimmer { return new(stringSkimmer) }, wire.AppendString(nil, ""), ""},
		"archive": {func() skimmer { return new(narSkimmer) }, archive(), string(archive())},
	} {
		for size := 1; size <= len(c.b)+8; size = size*2 + 1 {
			s := c.create()
			var got []byte
			b := append(bytes.Clone(c.b), "after the end"...)
			done := false
			for len(b) > 0 && !done {
				n, end, err := s.consume(b[:min(size, len(b))], func(p []byte) { got = append(got, p...) })
				if err != nil {
					t.Fatal(name, err)
				}
				b, done = b[n:], end
			}
			if !done || string(b) != "after the end" || string(got) != c.want || s.size() != int64(len(c.b)) {
				t.Errorf("%s in pieces of %d: %v, %q is left, %d bytes, size %d", name, size, done, b, len(got), s.size())
			}
		}
	}
	for _, bad := range [][]byte{wire.AppendString(nil, "not-an-archive"), wire.AppendUint64(nil, 1<<63), wire.AppendString(wire.AppendString(nil, "nix-archive-1"), "nonsense")} {
		if _, _, err := new(narSkimmer).consume(bad, func([]byte) {}); err == nil {
			t.Errorf("%q is taken for an archive", bad)
		}
	}
}
