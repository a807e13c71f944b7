package closure_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/closure"
	"pix/nar"
)

func TestCompareContents(t *testing.T) {
	archive := func(files map[string]string) *bytes.Buffer {
		dir := t.TempDir()
		for name, text := range files {
			file := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
				t.Fatal(err)
			}
			var err error
			if target, ok := strings.CutPrefix(text, "-> "); ok {
				err = os.Symlink(target, file)
			} else {
				err = os.WriteFile(file, []byte(text), 0o666)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		if err := nar.Dump(t.Context(), &b, dir, nil); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	a := map[string]string{"same": "x", "text": "one", "bytes": "\xff", "gone/file": "y", "link": "-> a", "kind": "x", "big": strings.Repeat("x", 40<<10)}
	b := map[string]string{"same": "x", "text": "two", "bytes": "\xfe", "new": "z", "link": "-> b", "kind": "-> x", "big": strings.Repeat("y", 40<<10)}
	changes, err := closure.CompareContents(archive(a), archive(b))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&got, "%s %v %v", c.Path, c.InA, c.InB)
		if c.Text[0] != nil {
			fmt.Fprintf(&got, " %s %s", *c.Text[0], *c.Text[1])
		}
		got.WriteString("\n")
	}
	want := "/big true true\n/bytes true true\n/gone true false\n/gone/file true false\n/kind true true\n/link true true\n/new false true\n/text true true one two\n"
	if got.String() != want {
		t.Errorf("%s, want %s", got.String(), want)
	}
	if changes, err := closure.CompareContents(archive(a), archive(a)); err != nil || len(changes) > 0 {
		t.Errorf("equal objects: %v, %v", changes, err)
	}
	if _, err := closure.CompareContents(archive(a), strings.NewReader("no archive")); err == nil {
		t.Error("no error for a stream that is not an archive")
	}
}
