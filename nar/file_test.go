package nar_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"pix/nar"
)

func TestWriteFile(t *testing.T) {
	for _, text := range []string{"", "hello", "8 bytes.", strings.Repeat("long", 20<<10)} {
		var b bytes.Buffer
		if err := nar.WriteFile(&b, strings.NewReader(text), uint64(len(text))); err != nil {
			t.Fatal(err)
		}
		r := nar.NewReader(&b)
		e, err := r.Next()
		if err != nil || e.Kind != nar.Regular || e.Executable || e.Size != uint64(len(text)) {
			t.Fatalf("entry %+v, %v", e, err)
		}
		if got, err := io.ReadAll(r); string(got) != text || err != nil {
			t.Errorf("contents of %d bytes came back as %d bytes, %v", len(text), len(got), err)
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("after the file: %v", err)
		}
	}
	for _, size := range []uint64{4, 6} {
		var e *nar.Error
		if err := nar.WriteFile(io.Discard, strings.NewReader("hello"), size); !errors.As(err, &e) {
			t.Errorf("5 bytes with size %d: %v", size, err)
		}
	}
}
