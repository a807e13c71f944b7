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

// A BuildPathsRequest makes paths valid: the daemon builds or substitutes them. Only a trusted
// user may ask for [store.BuildRepair].
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

// A BuildPathsWithResultsRequest does the same, but its reply has the result of each path,
// where BuildPathsRequest fails.
type BuildPathsWithResultsRequest struct {
	Paths []derivation.DerivedPath
	Mode  store.BuildMode
}

// A BuildPathsWithResultsReply holds the result of each path, in any order.
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

// A BuildDerivationRequest builds a derivation that need not be in the store. Its inputs must
// be. Only a trusted user may build input-addressed outputs. Before version 1.24 only a trusted
// user may build any outputs.
type BuildDerivationRequest struct {
	// Path is the store path of the derivation. It names the derivation, even if the path
	// computed from Derivation is another.
	Path storepath.Path
	// Derivation must not have InputDerivations: their outputs are given as InputSources. Its
	// Name and Dir are not sent. A receiver derives them from Path. A fixed output is sent with
	// the path that follows from its hash.
	Derivation *derivation.Derivation
	Mode       store.BuildMode
}

// A BuildDerivationReply holds the result of the build.
type BuildDerivationReply struct{ Result store.BuildResult }

func (*BuildDerivationRequest) Op() Op { return BuildDerivation }
func (r *BuildDerivationRequest) code(c *codec) {
	c.path("path", &r.Path)
	if c.err == nil && !r.Path.IsDerivation() {
		c.fail("path", errors.New("it is not a derivation"))
	}
	if !c.encoding() {
		r.Derivation = new(derivation.Derivation)
	}
	switch {
	case c.err != nil:
		return
	case r.Derivation == nil:
		c.fail("derivation", errors.New("it is missing"))
		return
	case r.Derivation.InputDerivations.Len() > 0:
		c.fail("derivation", errors.New("it has input derivations"))
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

// basicDerivation codes Nix's BasicDerivation: all fields except the input derivations.
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
		c.failAt("outputs", c.form.offset(), errors.New("two outputs have the same name"))
	}
}

func entries[K ~string, V any](m derivation.Map[K, V]) []derivation.Entry[K, V] {
	l := make([]derivation.Entry[K, V], 0, m.Len())
	for k, v := range m.All() {
		l = append(l, derivation.Entry[K, V]{Key: k, Value: v})
	}
	return l
}

// output codes an output of the derivation with the name drv: the name of the output, and the
// three fields that it has in a .drv file.
func (c *codec) output(drv string, e *derivation.Entry[string, derivation.Output]) {
	c.name("name", &e.Key)
	at := c.form.offset()
	var path, method, hash string
	if c.encoding() && c.err == nil {
		o, err := c.withFixedPath(drv, e.Key, e.Value)
		if err == nil && o.Kind() == derivation.InputAddressed {
			_, err = c.Dir.Parse(string(o.Path()))
		} else if err == nil && o.Kind() == 0 {
			err = errors.New("it has no kind")
		}
		c.fail("output", err)
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
	c.failAt("output", at, err)
}

// withFixedPath returns a fixed output with the path that follows from its hash. Nix ignores
// any other path.
func (c *codec) withFixedPath(drv, name string, o derivation.Output) (derivation.Output, error) {
	if o.Kind() != derivation.Fixed {
		return o, nil
	}
	path, err := c.Dir.FixedOutputPath(storepath.OutputName(drv, name), o.ContentAddress(), storepath.References{})
	return derivation.FixedOutput(o.ContentAddress(), path), err
}

// A SubmitOutputRequest is sent by a build: the path is the given output of that build. It
// needs the feature [OutputSubmission].
type SubmitOutputRequest struct {
	Path   derivation.SingleDerivedPath
	Output string
}

func (*SubmitOutputRequest) Op() Op { return SubmitOutput }
func (r *SubmitOutputRequest) code(c *codec) {
	c.singleDerivedPath(&r.Path)
	c.name("output", &r.Output)
}

// maxOutputs limits the number of outputs in a single derived path: outputs of outputs of a
// derivation.
const maxOutputs = 1000

// singleDerivedPath codes a path, or an output of such a path. The wire has a 1 for each
// output, then a 0, the path at the start, and the names of the outputs from the first to the
// last.
func (c *codec) singleDerivedPath(p *derivation.SingleDerivedPath) {
	const field = "path"
	var base storepath.Path
	var outputs []string
	if c.encoding() {
		var err error
		base, outputs, err = cutOutputs(*p)
		c.fail(field, err)
	}
	if c.form.isText() {
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
			c.failAt(field, c.form.offset(), fmt.Errorf("more than %d outputs follow each other", maxOutputs))
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

// joinOutputs is the inverse of [cutOutputs]. It only works for a decoding codec.
func (c *codec) joinOutputs(p *derivation.SingleDerivedPath, base storepath.Path, outputs []string) {
	if c.encoding() {
		return
	}
	*p = derivation.Opaque{Path: base}
	for _, output := range outputs {
		*p = derivation.SingleBuilt{Drv: *p, Output: output}
	}
}

// cutOutputs splits a path into the path at its start and the outputs, from the first to the
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
			return "", nil, errors.New("not a path")
		}
	}
}

// An Ack is the reply of operations that return nothing: the number 1.
type Ack struct{}

func (*Ack) code(c *codec) { c.acknowledged() }
