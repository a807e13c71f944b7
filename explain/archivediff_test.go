package explain_test

import (
	"bytes"
	"testing"
	"testing/fstest"

	"pix/explain"
	"pix/nar"
)

// The comparison of two archives names the first file that differs: by its contents, its mode or its name.
func TestCompareArchives(t *testing.T) {
	archive := func(files fstest.MapFS) *explain.Explanation {
		t.Helper()
		var b bytes.Buffer
		err := nar.DumpFS(t.Context(), &b, files, "src", nil)
		if err != nil {
			t.Fatal(err)
		}
		e, err := explain.NAR("src", &b)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }
	old := archive(fstest.MapFS{"src/a": file("first"), "src/b/c": file("second"), "src/d": file("third")})
	for _, c := range []struct {
		files fstest.MapFS
		in    [2]string
	}{
		{fstest.MapFS{"src/a": file("first"), "src/b/c": file("sECond"), "src/d": file("THIRD")}, [2]string{"/b/c", "/b/c"}},
		{fstest.MapFS{"src/a": file("first"), "src/b/c": file("second and more"), "src/d": file("third")}, [2]string{"/b/c", "/b/c"}},
		{fstest.MapFS{"src/a": file("first"), "src/b/c": {Data: []byte("second"), Mode: 0o755}, "src/d": file("third")}, [2]string{"/b/c", "/b/c"}},
		{fstest.MapFS{"src/a": file("first"), "src/b/e": file("second"), "src/d": file("third")}, [2]string{"/b/c", "/b/e"}},
		{fstest.MapFS{"src/a": file("first"), "src/b/c": file("second")}, [2]string{"/d", ""}},
	} {
		s := explain.Compare(old, archive(c.files)).First()
		if s == nil || s.Name != explain.StepArchive {
			t.Fatalf("%v: got %+v", c.in, s)
		}
		for side, want := range c.in {
			got := ""
			if s.In[side] != nil {
				got = s.In[side].Name
			}
			if got != want {
				t.Errorf("side %d: got %q, want %q", side, got, want)
			}
		}
	}
	if s := explain.Compare(old, old).First(); s != nil {
		t.Errorf("an archive differs from itself: %+v", s)
	}
}
