package protocol

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// A BuildPathsRequest makes paths valid, by building or substitution. Only a trusted user
// may ask for [store.BuildRepair].
type BuildPathsRequest struct {
	Paths []derivation.DerivedPath
	Mode  store.BuildMode
}

func (*BuildPathsRequest) Op() Op { return BuildPaths }
func (r *BuildPathsRequest) code(c *codec) {
	list(c, "paths", &r.Paths, c.derivedPath)
	c.buildMode(&r.Mode)
}
func (r *BuildPathsRequest) needsTrust(Params) bool { return r.Mode == store.BuildRepair }

// A BuildPathsWithResultsRequest does the same, but says how each of them ended instead
// of failing.
type BuildPathsWithResultsRequest struct {
	Paths []derivation.DerivedPath
	Mode  store.BuildMode
}

// A BuildPathsWithResultsReply says how each of the paths ended, in any order.
type BuildPathsWithResultsReply struct{ Results []store.KeyedBuildResult }

func (*BuildPathsWithResultsRequest) Op() Op { return BuildPathsWithResults }
func (r *BuildPathsWithResultsRequest) code(c *codec) {
	list(c, "paths", &r.Paths, c.derivedPath)
	c.buildMode(&r.Mode)
}
func (r *BuildPathsWithResultsRequest) needsTrust(Params) bool { return r.Mode == store.BuildRepair }
func (r *BuildPathsWithResultsReply) code(c *codec) {
	list(c, "results", &r.Results, c.keyedBuildResult)
}

// A BuildDerivationRequest builds a derivation that need not be in the store, but whose
// inputs are. Only a trusted user may ask for outputs that are input-addressed, and
// before 1.24 for any.
type BuildDerivationRequest struct {
	// Path is the derivation's own store path. It names the derivation, even if it is
	// not that of Derivation.
	Path storepath.Path
	// Derivation has InputSources, but must have no InputDerivations: what they come to
	// is to be named in its place. Its Name and Dir are not sent; received, they
	// follow from Path. A fixed output is sent with the path that it must have.
	Derivation *derivation.Derivation
	Mode       store.BuildMode
}

// A BuildDerivationReply says how the build ended.
type BuildDerivationReply struct{ Result store.BuildResult }

func (*BuildDerivationRequest) Op() Op { return BuildDerivation }
func (r *BuildDerivationRequest) code(c *codec) {
	at := c.offset()
	c.path("path", &r.Path)
	if c.err == nil && !r.Path.IsDerivation() {
		c.fail("path", at, errors.New("it is not that of a derivation"))
	}
	if !c.encoding() {
		r.Derivation = new(derivation.Derivation)
	}
	switch {
	case c.err != nil:
		return
	case r.Derivation == nil:
		c.fail("derivation", -1, errors.New("there is none"))
		return
	case r.Derivation.InputDerivations.Len() > 0:
		c.fail("derivation", -1, errors.New("it has input derivations"))
		return
	}
	c.basicDerivation(strings.TrimSuffix(r.Path.Name(), storepath.DerivationExt), r.Derivation)
	c.buildMode(&r.Mode)
}

func (r *BuildDerivationRequest) needsTrust(p Params) bool {
	if p.Version < MakeVersion(24) || r.Derivation == nil {
		return true
	}
	switch kind, err := r.Derivation.Kind(); {
	case err != nil:
		return true
	default:
		return kind == derivation.InputAddressed || kind == derivation.Deferred
	}
}

func (r *BuildDerivationReply) code(c *codec) { c.buildResult(&r.Result) }

// basicDerivation codes what Nix calls BasicDerivation: all but the input derivations.
func (c *codec) basicDerivation(name string, d *derivation.Derivation) {
	outputs := entries(d.Outputs)
	list(c, "outputs", &outputs, func(e *derivation.Entry[string, derivation.Output]) { c.output(name, e) })
	sources := d.InputSources.Slice()
	c.pathSet("input sources", &sources)
	c.name("platform", &d.Platform)
	c.name("builder", &d.Builder)
	list(c, "args", &d.Args, func(arg *string) { c.string("arg", arg) })
	env := entries(d.Env)
	list(c, "env", &env, func(e *derivation.Entry[string, string]) {
		c.name("name", &e.Key)
		c.string("value", &e.Value)
	})
	if c.encoding() || c.err != nil {
		return
	}
	d.Name, d.Dir = name, c.Dir
	d.Outputs, d.InputSources, d.Env = derivation.MapOf(outputs...), derivation.SetOf(sources...), derivation.MapOf(env...)
	if d.Outputs.Len() != len(outputs) {
		c.fail("outputs", c.offset(), errors.New("two have the same name"))
	}
}

func entries[K ~string, V any](m derivation.Map[K, V]) []derivation.Entry[K, V] {
	l := make([]derivation.Entry[K, V], 0, m.Len())
	for k, v := range m.All() {
		l = append(l, derivation.Entry[K, V]{Key: k, Value: v})
	}
	return l
}

// output codes an output of the derivation with that name: its own name, and the three
// fields that it also has in a .drv file.
func (c *codec) output(drv string, e *derivation.Entry[string, derivation.Output]) {
	c.name("name", &e.Key)
	at := c.offset()
	var path, method, hash string
	if c.encoding() && c.err == nil {
		o, err := c.withFixedPath(drv, e.Key, e.Value)
		if err == nil && o.Kind() == derivation.InputAddressed {
			_, err = c.Dir.Parse(string(o.Path()))
		} else if err == nil && o.Kind() == 0 {
			err = errors.New("it is of no kind")
		}
		c.fail("output", -1, err)
		path, method, hash = string(o.Path()), o.MethodAlgorithm(), o.HashField()
	}
	c.name("path", &path)
	c.name("method and algorithm", &method)
	c.name("hash", &hash)
	if c.encoding() || c.err != nil {
		return
	}
	o, err := derivation.ParseOutput(c.Dir, path, method, hash)
	if err == nil {
		o, err = c.withFixedPath(drv, e.Key, o)
	}
	e.Value = o
	c.fail("output", at, err)
}

// withFixedPath gives a fixed output the path that follows from its hash. Nix looks at no
// other.
func (c *codec) withFixedPath(drv, name string, o derivation.Output) (derivation.Output, error) {
	if o.Kind() != derivation.Fixed {
		return o, nil
	}
	path, err := c.Dir.FixedOutputPath(storepath.OutputName(drv, name), o.ContentAddress(), storepath.References{})
	return derivation.FixedOutput(o.ContentAddress(), path), err
}

// A SubmitOutputRequest says, during a build, which path is an output of it. It needs the
// feature [OutputSubmission].
type SubmitOutputRequest struct {
	Path   derivation.SingleDerivedPath
	Output string
}

func (*SubmitOutputRequest) Op() Op { return SubmitOutput }
func (r *SubmitOutputRequest) code(c *codec) {
	c.singleDerivedPath(&r.Path)
	c.name("output", &r.Output)
}

// maxOutputs is the number of outputs that may follow each other in a single derived path.
const maxOutputs = 1000

// singleDerivedPath codes a path, or an output of one: for each output 1, then 0 and the
// path, and then the outputs from the first to the last.
func (c *codec) singleDerivedPath(p *derivation.SingleDerivedPath) {
	const field = "path"
	var base storepath.Path
	var outputs []string
	if c.encoding() {
		var err error
		base, outputs, err = cutOutputs(*p)
		c.fail(field, -1, err)
	}
	if c.trace != nil {
		c.path(field, &base)
		limitedList(c, "outputs of it", &outputs, maxOutputs, func(s *string) { c.name("outputs of it", s) })
		c.joinOutputs(p, base, outputs)
		return
	}
	for n := 0; c.err == nil; n++ {
		tag := uint64(0)
		if n < len(outputs) {
			tag = 1
		}
		if c.limited("tag", &tag, 1); tag == 0 {
			break
		}
		if n == maxOutputs {
			c.fail(field, c.offset(), fmt.Errorf("more than %d outputs follow each other", maxOutputs))
		}
		if !c.encoding() {
			outputs = append(outputs, "")
		}
	}
	c.path(field, &base)
	for i := range outputs {
		c.name("output", &outputs[i])
	}
	c.joinOutputs(p, base, outputs)
}

// joinOutputs does the reverse of [cutOutputs], unless the codec is encoding.
func (c *codec) joinOutputs(p *derivation.SingleDerivedPath, base storepath.Path, outputs []string) {
	if c.encoding() {
		return
	}
	*p = derivation.Opaque{Path: base}
	for _, output := range outputs {
		*p = derivation.SingleBuilt{Drv: *p, Output: output}
	}
}

// cutOutputs splits a path into what it begins with and the outputs, from the first to the
// last.
func cutOutputs(p derivation.SingleDerivedPath) (base storepath.Path, outputs []string, err error) {
	for {
		switch q := p.(type) {
		case derivation.Opaque:
			slices.Reverse(outputs)
			return q.Path, outputs, nil
		case derivation.SingleBuilt:
			p, outputs = q.Drv, append(outputs, q.Output)
		default:
			return "", nil, errors.New("no path")
		}
	}
}

// An Ack is the reply of operations that return nothing: the number 1.
type Ack struct{}

func (*Ack) code(c *codec) { c.acknowledged() }
