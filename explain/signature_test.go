package explain_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"pix/explain"
	"pix/internal/testenv"
	"pix/nar"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

func signedInfo(t *testing.T) (*store.PathInfo, signature.KeySet) {
	t.Helper()
	info := infoOf(t, contentPaths[2].path, contentPaths[2].ca, contentPaths[2].references)
	info.NARHash, info.NARSize = nixhash.Sum(nixhash.SHA256, []byte("archive")), 7
	info.CA = storepath.ContentAddress{} // a content-addressed path needs no signature
	keys := signature.KeySet{}
	for _, name := range []string{"good-1", "other-1", "unknown-1"} {
		key, err := signature.GenerateKey(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := info.Sign(key); err != nil {
			t.Fatal(err)
		}
		if name != "unknown-1" {
			keys[name] = key.Public()
		}
	}
	for _, s := range info.Signatures {
		if rest, ok := strings.CutPrefix(s, "good-1:"); ok {
			info.Signatures = append(info.Signatures, "other-1:"+rest) // by another key than its name says
		}
	}
	info.Signatures = append(info.Signatures, "malformed")
	return info, keys
}

func TestSignature(t *testing.T) {
	info, keys := signedInfo(t)
	e, err := explain.Signature(info, keys)
	if err != nil {
		t.Fatal(err)
	}
	fingerprint, err := info.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	if s := stepOf(t, e, explain.StepSigned, ""); s.Text != string(fingerprint) || len(e.Problems) > 0 {
		t.Errorf("the signed text is %q, problems %q", s.Text, e.Problems)
	}
	var verdicts []string
	for _, s := range e.Steps[1:] {
		verdicts = append(verdicts, s.Output+" "+s.Result)
	}
	if got, want := strings.Join(verdicts, ", "), "good-1 valid, other-1 valid, unknown-1 unknown, other-1 invalid,  invalid"; got != want {
		t.Errorf("the signatures are %s, want %s", got, want)
	}
	if text := string(e.AppendText(nil, nil)); !strings.Contains(text, `no trusted key has the name "unknown-1"`) || !strings.Contains(text, "does not match the signed text") {
		t.Errorf("the text is %s", text)
	}

	info.Signatures = info.Signatures[2:]
	if e, err := explain.Signature(info, keys); err != nil || len(e.Problems) != 1 {
		t.Errorf("without a valid signature: %v, %v", e, err)
	}
	info.Signatures = nil
	if e, err := explain.Signature(info, keys); err != nil || len(e.Problems) != 1 || !strings.Contains(e.Problems[0], "no signature") {
		t.Errorf("without a signature: %v, %v", e, err)
	}
	info = infoOf(t, contentPaths[0].path, contentPaths[0].ca, contentPaths[0].references)
	info.NARHash, info.NARSize = nixhash.Sum(nixhash.SHA256, []byte("archive")), 7
	if e, err := explain.Signature(info, keys); err != nil || len(e.Problems) != 0 || e.Steps[len(e.Steps)-1].Name != explain.StepUnsigned {
		t.Errorf("a content-addressed path without a signature: %v, %v", e, err)
	}
}

func TestScriptOfSignatures(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		testenv.Missing(t, "openssl", "openssl is not installed")
	}
	info, keys := signedInfo(t)
	e, err := explain.Signature(info, keys)
	if err != nil {
		t.Fatal(err)
	}
	runScript(t, "sh", e)
}

func TestHash(t *testing.T) {
	h := nixhash.Sum(nixhash.SHA256, []byte("hello world"))
	for text, spelling := range map[string]string{
		h.Base16(): "base 16", h.Nix32(): "base 32", h.Base64(): "base 64", h.SRI(): "Subresource Integrity (base 64)",
		h.WithNix32(): "base 32 with the algorithm", strings.ToUpper(h.Base16()): "another one that is accepted",
	} {
		e, err := explain.Hash(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := stepOf(t, e, explain.StepDigest, "").Inputs[2].Value; got != spelling {
			t.Errorf("%s: the spelling is %q, want %q", text, got, spelling)
		}
		if stepOf(t, e, explain.StepBase32, "").Result != h.Nix32() || stepOf(t, e, explain.StepBase64, "").Result != h.Base64() {
			t.Errorf("%s: %+v", text, e.Steps)
		}
	}
	for _, a := range []nixhash.Algorithm{nixhash.MD5, nixhash.SHA1, nixhash.SHA256, nixhash.SHA512, nixhash.BLAKE3} {
		e, err := explain.Hash(nixhash.Sum(a, nil).SRI())
		if err != nil {
			t.Fatal(err)
		}
		runScript(t, "sh", e)
	}
	for _, bad := range []string{"", "sha256:", "sha256-AAAA", "hello", strings.Repeat("0", 63)} {
		if e, err := explain.Hash(bad); err == nil {
			t.Errorf("%q is explained as %+v", bad, e)
		}
	}
}

// archive returns the archive of a directory, with a file of that size.
func archive(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	for _, step := range []struct {
		entry    nar.Entry
		contents []byte
	}{
		{nar.Entry{Kind: nar.Directory}, nil},
		{nar.Entry{Kind: nar.Regular, Depth: 1, Name: "a\x1b", Size: uint64(size), Executable: true}, bytes.Repeat([]byte{0xfe}, size)},
		{nar.Entry{Kind: nar.Symlink, Depth: 1, Name: "b", Target: "a"}, nil},
	} {
		if err := w.WriteEntry(step.entry); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(step.contents); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestNAR(t *testing.T) {
	for _, size := range []int{5, 100_000, 3 << 20} {
		b := archive(t, size)
		e, err := explain.NAR("archive", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if s := stepOf(t, e, explain.StepArchive, ""); s.Result != nixhash.Sum(nixhash.SHA256, b).Base16() {
			t.Errorf("the hash of %d bytes is %s", len(b), s.Result)
		}
		files := stepOf(t, e, explain.StepFiles, "").Inputs
		if len(files) != 3 || files[0].Value != "directory" || !strings.HasPrefix(files[1].Value, "executable file of ") || files[2].Value != "symlink to a" {
			t.Errorf("the files are %+v", files)
		}
		runScript(t, "sh", e)
	}
	b := archive(t, 5)
	for _, bad := range [][]byte{nil, b[:len(b)-1], append(bytes.Clone(b), 0, 0, 0, 0, 0, 0, 0, 0)} {
		if _, err := explain.NAR("archive", bytes.NewReader(bad)); err == nil {
			t.Errorf("an archive of %d bytes is explained", len(bad))
		}
	}
}

// For a content-addressed path, a step says that it needs no signature.
func TestSignatureNotNeeded(t *testing.T) {
	object, err := store.ImportText(storepath.DefaultDir, "hello.txt", "hello", nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := explain.Signature(object.Info, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := stepOf(t, e, explain.StepUnsigned, ""); len(s.Inputs) != 1 || s.Inputs[0].Value != object.Info.CA.String() || len(e.Problems) > 0 {
		t.Errorf("got %+v, problems %q", s, e.Problems)
	}
	info, _ := signedInfo(t)
	info.Signatures = nil
	if e, err := explain.Signature(info, nil); err != nil || len(e.Problems) != 1 || len(e.Steps) != 1 {
		t.Errorf("an input-addressed path without a signature: %+v, %v", e, err)
	}
	info.CA = infoOf(t, contentPaths[2].path, contentPaths[2].ca, contentPaths[2].references).CA
	if e, err := explain.Signature(info, nil); err != nil || len(e.Problems) > 0 {
		t.Errorf("a content-addressed path that refers to itself: %+v, %v", e, err)
	}
}
