package explain_test

import (
	"errors"
	"testing"

	"pix/explain"
	"pix/store"
	"pix/storepath"
)

// contentPaths are paths by content address, from docs/store-paths.md, with the inner texts and fingerprints.
var contentPaths = []struct {
	path               storepath.Path
	ca                 string
	references         []storepath.Path
	kind               string
	inner, fingerprint string
}{
	{"/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt", "text:sha256:1sfdxziarxw8j3p80lvswgpq9i7smdyxmmsj5sjhhgjdjfwjfkdr", nil, "text",
		"", "text:sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9:/nix/store:hello.txt"},
	{"/nix/store/2vc7f3hm5p0jy73qn0avnr469ssbgyhb-see", "text:sha256:4dac00cc2d9e00de78258896cc7d787bd7e49149d81cd1b184f065291f7c4425",
		[]storepath.Path{"/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt", "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-other"}, "text",
		"", "text:/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-other:/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt:sha256:4dac00cc2d9e00de78258896cc7d787bd7e49149d81cd1b184f065291f7c4425:/nix/store:see"},
	{"/nix/store/wpgrhrvhpcqavkm32zshfj2d5zhrzwxq-example", "fixed:r:sha256:4f86d29fbb46294a9dfe575b0ea1093b7fc0d6e9d68eed4de1817a08a99c4fce",
		[]storepath.Path{"/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt", "/nix/store/wpgrhrvhpcqavkm32zshfj2d5zhrzwxq-example"}, "source",
		"", "source:/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt:self:sha256:4f86d29fbb46294a9dfe575b0ea1093b7fc0d6e9d68eed4de1817a08a99c4fce:/nix/store:example"},
	{"/nix/store/932qd371cw0gg3rycs2k64hm6h6h7syl-hello", "fixed:sha256:1sfdxziarxw8j3p80lvswgpq9i7smdyxmmsj5sjhhgjdjfwjfkdr", nil, "file addressed by the sha256 of its bytes",
		"fixed:out:sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9:", "output:out:sha256:01e66f2454a0bebfcbc7e85a3a5b947d58faa236184373a6e907a4de731c0dee:/nix/store:hello"},
	{"/nix/store/3abbmq1m4v081f4frax9zss8lwgaacfs-hello", "fixed:r:sha1:65d7af3k9l961sk53v239rhbgabs54jg", nil, "object addressed by the sha1 of its archive",
		"fixed:out:r:sha1:4f92a2977a0be634c41e65ea60124d7338755a31:", "output:out:sha256:2a0286313ed7c08e23ad6101e5ea060d1b83964b6ca2f5ddb2afb9ab452c8f26:/nix/store:hello"},
	{"/nix/store/bcvrmq37wi9d91s1c4mg4fk7fd5lsmb3-hello", "fixed:git:sha1:9zgs6zlh5rz9lfbirvp4g4qm20mrzl4m", nil, "object addressed by its git hash",
		"fixed:out:git:sha1:95d09f2b10159347eece71399a7e2e907ea3df4f:", "output:out:sha256:2dc112307d771046bd3233244d8db111ee9a4b4ddab39e2d426c28fa748989eb:/nix/store:hello"},
}

// infoOf returns the info of an object with a content address.
func infoOf(t *testing.T, path storepath.Path, ca string, references []storepath.Path) *store.PathInfo {
	t.Helper()
	address, err := storepath.ParseContentAddress(ca)
	if err != nil {
		t.Fatal(err)
	}
	return &store.PathInfo{Path: path, CA: address, References: references}
}

func TestPath(t *testing.T) {
	for _, c := range contentPaths {
		e, err := explain.Path(infoOf(t, c.path, c.ca, c.references), nil)
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		if e.Kind != c.kind || len(e.Problems) > 0 {
			t.Errorf("%s: kind %q, problems %q", c.path, e.Kind, e.Problems)
		}
		if s := stepOf(t, e, explain.StepFingerprint, ""); s.Text != c.fingerprint {
			t.Errorf("%s: the fingerprint is %s", c.path, s.Text)
		}
		if s := stepOf(t, e, explain.StepPath, ""); s.Result != string(c.path) {
			t.Errorf("%s: the path is %s", c.path, s.Result)
		}
		if c.inner != "" {
			if s := stepOf(t, e, explain.StepInner, ""); s.Text != c.inner {
				t.Errorf("%s: the inner text is %s", c.path, s.Text)
			}
		}
	}
}

func TestPathErrors(t *testing.T) {
	none := &store.PathInfo{Path: "/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt"}
	if _, err := explain.Path(none, nil); !errors.As(err, new(*explain.NoContentAddressError)) {
		t.Errorf("without content address: %v", err)
	}
	refers := infoOf(t, contentPaths[3].path, contentPaths[3].ca, []storepath.Path{contentPaths[0].path})
	if _, err := explain.Path(refers, nil); !errors.As(err, new(*storepath.Error)) {
		t.Errorf("a flat file with references: %v", err)
	}
	other := infoOf(t, contentPaths[0].path, contentPaths[1].ca, nil)
	e, err := explain.Path(other, nil)
	if err != nil || len(e.Problems) != 1 {
		t.Errorf("another hash: %v, %v", e, err)
	}
}
