package builder

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"pix/builder/sandbox"
	"pix/derivation"
)

// builtinPrefix begins the builder of a derivation that a function of this program builds. The function runs where a
// program would, in the sandbox and as the build user.
const builtinPrefix = "builtin:"

// derivationBuiltin is the name under which the functions are registered, all together.
const derivationBuiltin = "derivation"

func init() { sandbox.Register(derivationBuiltin, runBuiltin) }

// A builtin builds a derivation. Its error is printed to the log.
type builtin func(ctx context.Context, in *builtinInput, log io.Writer) error

// A builtinInput is what a builtin needs to know.
type builtinInput struct {
	Name    string            // of the builtin
	Env     map[string]string // of the derivation, before rewriting
	Outputs map[string]string // scratch paths by output name
	Dir     string            // build directory
	Fixed   bool              // the derivation has a fixed output
	Impure  bool              // the derivation has impure outputs

	HashedMirrors []string
	Netrc         []byte // passwords
	Certificates  []byte // of authorities
}

// useBuiltin lets the request run a builtin.
func (b *build) useBuiltin(req *sandbox.Request) error {
	in := &builtinInput{
		Name: strings.TrimPrefix(b.drv.Builder, builtinPrefix), Env: maps.Collect(b.drv.Env.All()), Outputs: map[string]string{},
		Dir: req.Dir, Fixed: b.kind == derivation.Fixed, Impure: b.kind == derivation.Impure,
	}
	for _, o := range b.outputs {
		in.Outputs[o.name] = string(o.scratch)
	}
	if in.Name == "fetchurl" {
		in.HashedMirrors, in.Netrc = b.opts.HashedMirrors, b.opts.Netrc
		in.Certificates = readFile(b.opts.CertFile)
	}
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(in); err != nil {
		return err
	}
	req.Program, req.Args = "", nil
	req.Builtin, req.Input = derivationBuiltin, buf.Bytes()
	return nil
}

// runBuiltin runs a builtin in the set-up process.
func runBuiltin(ctx context.Context, input []byte, log io.Writer) error {
	var in builtinInput
	if err := gob.NewDecoder(bytes.NewReader(input)).Decode(&in); err != nil {
		return err
	}
	f, ok := builtins[in.Name]
	if !ok {
		return fmt.Errorf("unsupported builtin builder '%s'", in.Name)
	}
	return f(ctx, &in, log)
}

// readFile returns the contents of a file; nothing if it cannot be read.
func readFile(name string) []byte {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	return text
}
