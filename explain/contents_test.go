package explain_test

import (
	"bytes"
	"strings"
	"testing"

	"pix/explain"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// The contents of a small object are in its explanation, and the script computes the path from them.
func TestContents(t *testing.T) {
	ctx := t.Context()
	s := memstore.New(nil)
	var file bytes.Buffer
	if err := nar.WriteFile(&file, strings.NewReader("hello world"), 11); err != nil {
		t.Fatal(err)
	}
	var infos []*store.PathInfo
	for _, m := range []storepath.Method{storepath.Flat, storepath.NAR} {
		for _, a := range []nixhash.Algorithm{nixhash.SHA1, nixhash.SHA256, nixhash.SHA512, nixhash.MD5} {
			info, err := s.AddToStore(ctx, "hello", m, a, nil, bytes.NewReader(file.Bytes()), nil)
			if err != nil {
				t.Fatal(m, a, err)
			}
			infos = append(infos, info)
		}
	}
	text, err := store.AddText(ctx, s, "text", "hello", []storepath.Path{infos[0].Path})
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.QueryPathInfo(ctx, text)
	if err != nil {
		t.Fatal(err)
	}
	infos = append(infos, info)
	for _, info := range infos {
		archive, err := store.ReadNAR(ctx, s, info.Path)
		if err != nil {
			t.Fatal(err)
		}
		e, err := explain.Path(info, archive)
		archive.Close()
		if err != nil || len(e.Problems) > 0 {
			t.Fatal(info.CA, err, e)
		}
		if content := stepOf(t, e, explain.StepContent, ""); !strings.Contains(content.Text, "hello") {
			t.Errorf("%s: the contents are %q", info.CA, content.Text)
		}
		runScript(t, "sh", e)
	}

	git := infoOf(t, contentPaths[5].path, contentPaths[5].ca, nil)
	if e, err := explain.Path(git, bytes.NewReader(file.Bytes())); err != nil || len(e.Problems) > 0 || stepOf(t, e, explain.StepContent, "").Text != "blob 11\x00hello world" {
		t.Errorf("a git blob: %v, %v", err, e)
	} else {
		runScript(t, "sh", e)
	}
	info = infos[0]
	if e, err := explain.Path(info, bytes.NewReader(archive(t, explain.MaxContents))); err != nil || stepOf(t, e, explain.StepContent, "").Op != explain.OpJoin {
		t.Errorf("a large archive: %v", err)
	}
	var other bytes.Buffer
	if err := nar.WriteFile(&other, strings.NewReader("other"), 5); err != nil {
		t.Fatal(err)
	}
	if e, err := explain.Path(info, &other); err != nil || len(e.Problems) == 0 {
		t.Errorf("other contents: %v, %v", e, err)
	}
}

// The hash of an object that refers to itself is computed without its own hash part, in both forms.
func TestSelfReference(t *testing.T) {
	const path storepath.Path = "/nix/store/00000000000000000000000000000000-self"
	mention := "see " + string(path) + " and " + string(path)
	var archive bytes.Buffer
	if err := nar.WriteFile(&archive, strings.NewReader(mention), uint64(len(mention))); err != nil {
		t.Fatal(err)
	}
	h, err := nar.NewModuloHasher(nixhash.SHA256, path.HashPart())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Write(archive.Bytes()); err != nil {
		t.Fatal(err)
	}
	hashes := h.Finish()
	for _, hash := range []nixhash.Hash{hashes.Plain, hashes.WithOffsets} {
		ca, err := storepath.NewContentAddress(storepath.NAR, hash)
		if err != nil {
			t.Fatal(err)
		}
		// The hash part in the contents is not the one that follows from them, which is another problem.
		e, err := explain.Path(&store.PathInfo{Path: path, CA: ca, References: []storepath.Path{path}}, bytes.NewReader(archive.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if s := stepOf(t, e, explain.StepContent, ""); s.Result != hash.Base16() || strings.Contains(s.Text, path.HashPart()) {
			t.Errorf("the hash of %q is %s, want %s", s.Text, s.Result, hash.Base16())
		}
	}
}
