package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix"
	"pix/internal/testenv"
	"pix/store"
)

func TestRun(t *testing.T) {
	root := t.TempDir()
	testenv.RemoveStore(t, root)
	ctx := t.Context()
	s, err := pix.Open(ctx, root, &pix.Options{NoEnvironment: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	link := filepath.Join(t.TempDir(), "service")
	for _, test := range []struct{ name, check, output, current string }{
		{"service-1.0", "", "generation 1: service-1.0\n", "service-1-link"},
		{"service-1.1", "echo checked", "service: [\"1.0\"] -> [\"1.1\"]\ngeneration 2: service-1.1\nchecked\n", "service-2-link"},
		{"service-2.0", "false", "service: [\"1.1\"] -> [\"2.0\"]\ngeneration 3: service-2.0\n", "service-2-link"},
		{"service-2.1", "", "service: [\"1.1\"] -> [\"2.1\"]\ngeneration 4: service-2.1\ndeleted generation 1\ndeleted generation 2\n", "service-4-link"},
	} {
		path, err := store.AddText(ctx, s, test.name, test.name, nil)
		if err != nil {
			t.Fatal(err)
		}
		d := deployment{link: link, path: string(path), check: test.check, keep: 2}
		var out bytes.Buffer
		err = d.run(ctx, s, &out)
		if failed := err != nil; failed != (test.check == "false") || failed && !strings.Contains(err.Error(), "generation 2 is current again") {
			t.Errorf("%s: %v", test.name, err)
		}
		if target, err := os.Readlink(link); out.String() != test.output || target != test.current || err != nil {
			t.Errorf("%s: the profile points to %s, %v\n%s", test.name, target, err, out.String())
		}
	}
}
