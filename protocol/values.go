package protocol

import (
	"errors"
	"math"
	"strings"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// pathInfo codes what Nix calls UnkeyedValidPathInfo: all but the path.
func (c *codec) pathInfo(info *store.PathInfo) {
	c.optionalPath("deriver", &info.Deriver)
	c.narHash("NAR hash", &info.NARHash)
	c.pathSet("references", &info.References)
	c.time("registration time", &info.RegistrationTime)
	c.uint64("NAR size", &info.NARSize)
	if c.Version >= MakeVersion(16) {
		c.bool("ultimate", &info.Ultimate)
		c.stringSet("signatures", &info.Signatures)
		c.optionalContentAddress("content address", &info.CA)
	}
}

// keyedPathInfo codes what Nix calls ValidPathInfo.
func (c *codec) keyedPathInfo(info *store.PathInfo) {
	c.path("path", &info.Path)
	c.pathInfo(info)
}

// PathInfoVersion is the version by which the path infos in the stream of
// [AddMultipleToStoreRequest] are coded, whatever was negotiated.
var PathInfoVersion = MakeVersion(16)

// AppendPathInfo appends a path info as it stands in the stream of
// [AddMultipleToStoreRequest]. The error is an [*Error] if a value is not valid; nothing is
// appended then.
func (p Params) AppendPathInfo(dst []byte, info *store.PathInfo) ([]byte, error) {
	c := p.pathInfoCodec()
	c.out = dst
	if c.keyedPathInfo(info); c.err != nil {
		return dst, c.err
	}
	return c.out, nil
}

// ReadPathInfo reads what [Params.AppendPathInfo] appends, from a reader of the stream
// inside the frames. The error is an [*Error].
func (p Params) ReadPathInfo(r *wire.Reader) (*store.PathInfo, error) {
	c := p.pathInfoCodec()
	c.in = r
	info := new(store.PathInfo)
	c.keyedPathInfo(info)
	return info, c.err
}

func (p Params) pathInfoCodec() codec {
	p.Version = PathInfoVersion
	return codec{Params: p, op: AddMultipleToStore, part: "path info"}
}

func (c *codec) buildMode(m *store.BuildMode) {
	number(c, "build mode", m, uint64(store.BuildCheck))
}

// derivedPaths is the version from which a plain ".drv" path is the file itself. Before,
// it means all outputs of the derivation.
var derivedPaths = MakeVersion(30)

// derivedPath codes a path or outputs of a derivation, with '!' between.
func (c *codec) derivedPath(p *derivation.DerivedPath) {
	const field = "derived path"
	var s string
	if c.encoding() && c.err == nil {
		var err error
		s, err = c.spellDerivedPath(*p)
		c.fail(field, -1, err)
		if c.trace != nil && err == nil {
			s = (*p).String()
		}
	}
	at := c.offset()
	c.limitedString(field, &s, MaxString)
	if c.encoding() || c.err != nil {
		return
	}
	parse := c.parseDerivedPath
	if c.trace != nil {
		parse = func(s string) (derivation.DerivedPath, error) { return derivation.ParseDerivedPath(c.Dir, s) }
	}
	got, err := parse(s)
	*p = got
	c.fail(field, at, err)
}

func (c *codec) spellDerivedPath(p derivation.DerivedPath) (string, error) {
	switch p := p.(type) {
	case derivation.Opaque:
		if _, err := c.Dir.Parse(string(p.Path)); err != nil {
			return "", err
		}
		if c.Version < derivedPaths && p.Path.IsDerivation() {
			return "", &UnsupportedError{What: "making a .drv file itself valid", Have: c.Version, Since: derivedPaths}
		}
		return string(p.Path), nil
	case derivation.Built:
		return c.spellBuilt(p)
	}
	return "", errors.New("no path")
}

func (c *codec) spellBuilt(p derivation.Built) (string, error) {
	_, outputs, err := cutOutputs(p.Drv)
	if err != nil {
		return "", err
	}
	for _, name := range append(outputs, p.Outputs.Names().Slice()...) {
		if err := storepath.CheckName(name); err != nil { // a "!" would be read as another path
			return "", err
		}
	}
	s := p.LegacyString()
	if _, err := derivation.ParseLegacyDerivedPath(c.Dir, s); err != nil {
		return "", err
	}
	if c.Version < derivedPaths {
		drv, isPath := p.Drv.(derivation.Opaque)
		if !isPath {
			return "", &UnsupportedError{What: "outputs of a derivation that is itself an output", Have: c.Version, Since: derivedPaths}
		}
		if p.Outputs.All() {
			if !drv.Path.IsDerivation() {
				return "", errors.New("all outputs of what is no derivation")
			}
			return string(drv.Path), nil
		}
	}
	return s, nil
}

func (c *codec) parseDerivedPath(s string) (derivation.DerivedPath, error) {
	p, err := derivation.ParseLegacyDerivedPath(c.Dir, s)
	if err != nil || c.Version >= derivedPaths {
		return p, err
	}
	if opaque, ok := p.(derivation.Opaque); ok && opaque.Path.IsDerivation() {
		p = derivation.Built{Drv: opaque, Outputs: derivation.AllOutputs()}
	}
	_, err = c.spellDerivedPath(p) // not every path that is well-formed is one of that version
	return p, noVersion(err)
}

// noVersion makes what cannot be sent because of the version an ordinary error: it was
// received.
func noVersion(err error) error {
	if unsupported, ok := err.(*UnsupportedError); ok {
		return errors.New(unsupported.What + " in protocol " + unsupported.Have.String())
	}
	return err
}

// buildResult codes how a build ended.
func (c *codec) buildResult(r *store.BuildResult) {
	number(c, "status", &r.Status, uint64(store.NoSubstituters))
	c.string("error message", &r.Message)
	if c.Version >= MakeVersion(29) {
		c.limited("times built", &r.TimesBuilt, math.MaxUint32)
		c.bool("is non-deterministic", &r.NonDeterministic)
		c.time("start time", &r.Start)
		c.time("stop time", &r.Stop)
	}
	if c.Version >= MakeVersion(37) {
		c.optionalDuration("user CPU time", &r.CPUUser)
		c.optionalDuration("system CPU time", &r.CPUSystem)
	}
	switch {
	case c.Features.Has(RealisationWithPath):
		c.outputs(&r.Outputs)
	case c.Version >= MakeVersion(28):
		c.jsonOutputs(r)
	}
}

func (c *codec) keyedBuildResult(r *store.KeyedBuildResult) {
	c.derivedPath(&r.Path)
	c.buildResult(&r.BuildResult)
}

// baseName codes a store path without its store directory.
func (c *codec) baseName(field string, p *storepath.Path) {
	if c.trace != nil {
		c.path(field, p)
		return
	}
	if c.encoding() {
		s := string(*p)
		if c.err == nil {
			_, err := c.Dir.Parse(s)
			c.fail(field, -1, err)
		}
		s = strings.TrimPrefix(s, string(c.Dir)+"/")
		c.name(field, &s)
		return
	}
	text(c, field, p, storepath.Path.Base, c.Dir.ParseBase)
}
