package pixpkgs

import (
	"path"
	"strings"

	"pix/nixhash"
	"pix/storepath"
)

// FetchOptions are the options of [FetchURL]. A nil pointer is the zero value.
type FetchOptions struct {
	// Name is the name in the store; "" means the last component of the URL.
	Name string
	// Executable makes the file executable. The hash is then the hash of its archive.
	Executable bool
	// Unpack unpacks a NAR, possibly compressed with xz. The hash is then the hash of the NAR.
	Unpack bool
	// Dir is the store directory; "" means [storepath.DefaultDir].
	Dir storepath.Dir
}

// FetchURL returns a package that downloads a file with a known hash, such as "sha256-…" or
// "sha256:…". Nix itself downloads the file, so no system and no program is needed. The package is the
// same as <nix/fetchurl.nix> with the arguments url and hash.
//
// It returns the same errors as [Derive].
func FetchURL(url, hash string, o *FetchOptions) (*Package, error) {
	if o == nil {
		o = &FetchOptions{}
	}
	name, mode := o.Name, "flat"
	if name == "" {
		name = path.Base(strings.TrimRight(url, "/"))
	}
	if o.Executable || o.Unpack {
		mode = "recursive"
	}
	if _, err := nixhash.Parse(hash); err != nil {
		return nil, &Error{Package: name, Field: "OutputHash", Err: err}
	}
	return Derive(Spec{
		Name: name, System: "builtin", Builder: "builtin:fetchurl", Dir: o.Dir,
		OutputHash: hash, OutputHashMode: mode,
		Bare: true,
		Env: map[string]any{
			"name": name, "system": "builtin", "builder": "builtin:fetchurl",
			"outputHash": hash, "outputHashAlgo": "", "outputHashMode": mode,
			"url": url, "urls": url,
			"executable": o.Executable, "unpack": o.Unpack,
			"preferLocalBuild": true,
			"impureEnvVars":    []string{"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"}, // no effect, but Nix has it
		},
	})
}
