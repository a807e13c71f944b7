package builder

import (
	"strings"

	"pix/builder/sandbox"
)

// builtinPrefix begins the builder of a derivation that a function of this program builds. The function runs where a
// program would, in the sandbox and as the build user.
const builtinPrefix = "builtin:"

// isBuiltin reports whether the builder is a function of this program.
func (b *build) isBuiltin() bool { return strings.HasPrefix(b.drv.Builder, builtinPrefix) }

// useBuiltin lets a request run a builtin.
func (b *build) useBuiltin(req *sandbox.Request) error {
	req.Program, req.Args = "", nil
	req.Builtin = strings.TrimPrefix(b.drv.Builder, builtinPrefix)
	return nil
}
