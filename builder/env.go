package builder

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"pix/derivation"
	"pix/nixhash"
)

// homeDir is a directory that does not exist, so that programs find no configuration of the user.
const homeDir = "/homeless-shelter"

// A content has the variables, and the files in the build directory, that the builder gets from the derivation.
type content struct {
	vars  map[string]variable
	files map[string]string // by name, before they are rewritten
}

// A variable is an environment variable. If isFile is set, the value is the name of a file in the build directory.
type variable struct {
	value  string
	isFile bool
}

func newContent() *content {
	return &content{vars: map[string]variable{}, files: map[string]string{}}
}

// addFile adds a file, and a variable with its name.
func (c *content) addFile(name, file, text string) {
	c.vars[name] = variable{file, true}
	c.files[file] = text
}

// plainContent returns the content of a derivation without structured attributes. If a variable has the same name as
// the variable of a file, the later one in the order of the derivation wins.
func plainContent(d *derivation.Derivation, o *derivation.Options) *content {
	c := newContent()
	for name, value := range d.Env.All() {
		if o.PassAsFile.Has(name) {
			c.addFile(name+"Path", ".attr-"+nixhash.Sum(nixhash.SHA256, []byte(name)).Nix32(), value)
			continue
		}
		c.vars[name] = variable{value, false}
	}
	return c
}

// environment returns the variables of the builder, sorted by name. Later assignments replace earlier ones: a
// derivation can set PATH and HOME, but not TMPDIR.
func (b *build) environment(c *content) []string {
	dir := b.dirInSandbox()
	env := map[string]string{
		"PATH":            "/path-not-set", // or shells would use a default
		"HOME":            homeDir,
		"NIX_STORE":       string(b.store.Dir()),
		"NIX_BUILD_CORES": strconv.Itoa(b.opts.cores()),
	}
	for name, v := range c.vars {
		env[name] = v.value
		if v.isFile {
			env[name] = dir + "/" + v.value
		}
	}
	for _, name := range []string{"NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"} {
		env[name] = dir
	}
	if b.kind == derivation.Fixed {
		env["NIX_OUTPUT_CHECKED"] = "1"
	}
	if !b.pure {
		for name := range b.options.ImpureEnvVars.All() {
			env[name] = b.opts.impureEnv(name)
		}
	}
	if b.scope != nil {
		env["NIX_REMOTE"] = "unix://" + dir + "/" + socketName
	}
	env["NIX_LOG_FD"] = "2"
	env["TERM"] = "xterm-256color"

	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, b.rewrites.apply(name+"="+env[name]))
	}
	return list
}

// arguments returns the arguments of the builder. The first is the base name of the program, including the hash part
// if it is a store path.
func (b *build) arguments() []string {
	args := []string{b.drv.Builder[strings.LastIndexByte(b.drv.Builder, '/')+1:]}
	for _, arg := range b.drv.Args {
		args = append(args, b.rewrites.apply(arg))
	}
	return args
}

func (o *Options) impureEnv(name string) string {
	if o.ImpureEnv == nil {
		return ""
	}
	value, _ := o.ImpureEnv(name)
	return value
}
