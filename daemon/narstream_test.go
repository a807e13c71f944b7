package daemon

import (
	"bytes"
	"testing"

	"pix/nar"
)

// FuzzNARStream checks that the result does not depend on the pieces in which an archive is
// parsed, and that a valid archive ends where package nar finds its end.
func FuzzNARStream(f *testing.F) {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.WriteEntry(nar.Entry{Kind: nar.Directory})
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 1, Name: "(", Size: 3, Executable: true})
	w.Write([]byte("abc"))
	w.WriteEntry(nar.Entry{Kind: nar.Symlink, Depth: 1, Name: "contents", Target: ")"})
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes(), 7, uint64(0))
	f.Add(b.Bytes(), 1, uint64(b.Len()))
	f.Add(append(b.Bytes(), 1, 2, 3), 8, uint64(b.Len()))
	f.Add([]byte("pcxt\x00\x00\x00\x00"), 3, uint64(9))
	f.Fuzz(func(t *testing.T, archive []byte, step int, size uint64) {
		whole := narStream{size: size}
		n, err := whole.consume(archive)

		pieces := narStream{size: size}
		m, err2 := 0, error(nil)
		for m < len(archive) && err2 == nil {
			end := min(len(archive), m+max(1, step%100))
			var k int
			k, err2 = pieces.consume(archive[m:end])
			m += k
		}
		if n != m || (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
			t.Errorf("in one piece: %d, %v; in several: %d, %v", n, err, m, err2)
		}
		end, valid := nar.Copy(bytes.NewBuffer(nil), bytes.NewReader(archive))
		if valid == nil && size == 0 && (err != errArchiveEnds || n != int(end)) {
			t.Errorf("%d, %v, but the archive ends at %d", n, err, end)
		}
	})
}
