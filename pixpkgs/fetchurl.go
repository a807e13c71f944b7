package pixpkgs

import (
	"path"
	"strings"

	"pix/nixhash"
	"pix/storepath"
)

// FetchOptions say what becomes of a download. A nil pointer means the defaults.
type FetchOptions struct {
	// Name is the name in the store; what follows the last slash of the URL if "".
	Name string
	// Executable makes the file executable; the hash is then that of its archive.
	Executable bool
	// Unpack unpacks a NAR, which may be compressed with xz; the hash is that of the NAR.
	Unpack bool
	// Dir is the store directory; "" is [storepath.DefaultDir].
	Dir storepath.Dir
}

// FetchURL returns a package that is a download with a known hash, such as
// "sha256-…" or "sha256:…". Nix downloads it itself; no machine and no program is
// needed for that. It is what <nix/fetchurl.nix> makes of its arguments url and hash.
//
// The error is that of [Derive].
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
			"impureEnvVars":    []string{"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"}, // as Nix has it; it does nothing
		},
	})
}
