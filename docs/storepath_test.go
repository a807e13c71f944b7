package docs_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pix/derivation"
	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
)

// storePath computes the path for a fingerprint.
func storePath(fingerprint, name string) string {
	sum := sha256.Sum256([]byte(fingerprint))
	return "/nix/store/" + encode(fold(sum[:], 20)) + "-" + name
}

func hexSHA256(data string) string {
	sum := sha256.Sum256([]byte(data))
	return hex.EncodeToString(sum[:])
}

// A fingerprint prints and checks the text from which the path of an object with a name is computed.
type fingerprint struct {
	t    *testing.T
	name string
}

// check returns the fingerprint and its path, after checking that package storepath computes the same.
func (f fingerprint) check(typ, digest string, want storepath.Path, err error) string {
	f.t.Helper()
	checkErr(f.t, err)
	text := typ + ":" + digest + ":" + string(storeDir) + ":" + f.name
	if got := storePath(text, f.name); got != string(want) {
		f.t.Errorf("the fingerprint %s gives %s, want %s", text, got, want)
	}
	return "fingerprint  " + text + "\npath         " + string(want) + "\n"
}

// fixedFingerprint returns the content address, the inner text and the fingerprint of the object hello.
func fixedFingerprint(t *testing.T, m storepath.Method, h nixhash.Hash) string {
	t.Helper()
	ca, err := storepath.NewContentAddress(m, h)
	checkErr(t, err)
	inner := "fixed:out:" + m.Prefix() + h.WithBase16() + ":"
	path, err := storeDir.FixedOutputPath("hello", ca, storepath.References{})
	return "content      " + ca.String() + "\ninner text   " + inner + "\n" +
		fingerprint{t, "hello"}.check("output:out:sha256", hexSHA256(inner), path, err)
}

func TestStorePathsPage(t *testing.T) {
	const (
		hello = storepath.Path("/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt")
		other = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-other")
	)
	text := nixhash.Sum(nixhash.SHA256, []byte("hello world"))
	path, err := storeDir.TextPath("hello.txt", text, nil)
	plain := fingerprint{t, "hello.txt"}.check("text:sha256", text.Base16(), path, err)
	path, err = storeDir.TextPath("see", nixhash.Sum(nixhash.SHA256, []byte(hello)), []storepath.Path{other, hello})
	referring := fingerprint{t, "see"}.check(fmt.Sprintf("text:%s:%s:sha256", other, hello), hexSHA256(string(hello)), path, err)

	tree := nixhash.Sum(nixhash.SHA256, archive(t, exampleTree(t)))
	path, err = storeDir.SourcePath("example", tree, storepath.References{})
	source1 := fingerprint{t, "example"}.check("source:sha256", tree.Base16(), path, err)
	path, err = storeDir.SourcePath("example", tree, storepath.References{Others: []storepath.Path{hello}, Self: true})
	source2 := fingerprint{t, "example"}.check(fmt.Sprintf("source:%s:self:sha256", hello), tree.Base16(), path, err)

	file := filepath.Join(t.TempDir(), "f")
	checkErr(t, os.WriteFile(file, []byte("hello world"), 0o666))
	narSHA1, _, err := nar.HashPath(t.Context(), file, nixhash.SHA1, nil)
	checkErr(t, err)

	d, err := derivation.Parse(greetingDrv(t))
	checkErr(t, err)
	d.Name = "greeting"
	modulo, err := d.HashModulo(derivation.ForOutputs, nil, nil)
	checkErr(t, err)
	output := func(name string) string {
		path, err := storeDir.OutputPath(name, modulo.Hash, "greeting")
		return fingerprint{t, storepath.OutputName("greeting", name)}.check("output:"+name+":sha256", modulo.Hash.Base16(), path, err)
	}
	drvPath, err := d.Path()
	drv := fingerprint{t, "greeting.drv"}.check("text:sha256", hexSHA256(greetingDrv(t)), drvPath, err)

	upstream, err := storepath.OutputPlaceholder(drvPath, "dev")
	checkErr(t, err)
	check(t, "store-paths.md", map[string]string{
		"anatomy":    anatomy,
		"compute":    source(t, "storepath_test.go", "storePath"),
		"form":       "<type>:sha256:<digest, in base 16>:<store directory>:<name>",
		"text":       plain,
		"references": referring,
		"source":     source1,
		"self":       source2,
		"flat":       fixedFingerprint(t, storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("hello world"))),
		"nar-sha1":   fixedFingerprint(t, storepath.NAR, narSHA1),
		"git":        fixedFingerprint(t, storepath.Git, nixhash.Sum(nixhash.SHA1, []byte("blob 11\x00hello world"))),
		"out":        output("out"),
		"dev":        output("dev"),
		"drv":        drv,
		"placeholder": table(
			"nix-output:out\t"+string(storepath.OwnPlaceholder("out")),
			"nix-upstream-output:"+drvPath.HashPart()+":greeting-dev\t"+string(upstream),
		),
	})
	if got := "/" + nixhash.Sum(nixhash.SHA256, []byte("nix-output:out")).Nix32(); got != string(storepath.OwnPlaceholder("out")) {
		t.Errorf("a placeholder is %s, which is not in the page", got)
	}
}

const anatomy = `/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt
└───┬────┘ └──────────────┬───────────────┘ └───┬───┘
store directory       hash part               name`
