package builder

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"pix/builder/internal/builtins"
	"pix/builder/sandbox"
	"pix/derivation"
	"pix/storepath"
)

// builtinPrefix is the prefix of a builder that is a function of this program. The function runs like a program: in
// the sandbox, and as the build user.
const builtinPrefix = "builtin:"

// isBuiltin reports whether the builder is a function of this program.
func (b *build) isBuiltin() bool { return strings.HasPrefix(b.drv.Builder, builtinPrefix) }

// useBuiltin changes a request to run a builtin. If the builtin does not exist, the process in the sandbox reports
// that.
func (b *build) useBuiltin(req *sandbox.Request) (err error) {
	req.Program, req.Args = "", nil
	req.Builtin = strings.TrimPrefix(b.drv.Builder, builtinPrefix)
	in := &builtins.Input{Env: make(map[string]string), Outputs: make(map[string]string)}
	for name, value := range b.drv.Env.All() {
		in.Env[name] = value
	}
	for _, o := range b.outputs {
		in.Outputs[o.name] = string(o.scratch)
	}
	if !b.pure {
		if err := b.addNetwork(in); err != nil {
			return err
		}
	}
	req.Input, err = builtins.Encode(in)
	return err
}

// proxyVariables name the proxies of downloads. HTTP_PROXY is not among them, as in libcurl.
var proxyVariables = []string{"http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}

// addNetwork adds what a builtin needs for downloads. It runs as another user in the sandbox, where it could not read
// the files of this one.
func (b *build) addNetwork(in *builtins.Input) (err error) {
	in.Networked, in.HashedMirrors, in.Netrc = true, b.opts.HashedMirrors, b.opts.Netrc
	if spec, ok := b.drv.Outputs.Get("out"); ok && b.kind == derivation.Fixed && (spec.Method() == storepath.Flat || spec.Method() == storepath.Text) {
		hash := spec.ContentAddress().Hash()
		in.FileHash = hash.Algorithm().String() + "/" + hash.Base16()
	}
	if b.opts.CertFile != "" {
		in.Certificates, err = os.ReadFile(b.opts.CertFile)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if b.opts.ImpureEnv == nil {
		return err
	}
	in.Proxies = make(map[string]string)
	for _, name := range proxyVariables {
		if value, ok := b.opts.ImpureEnv(name); ok {
			in.Proxies[name] = value
		}
	}
	return err
}
