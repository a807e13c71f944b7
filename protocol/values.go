package protocol

import (
	"errors"
	"math"
	"strings"
	"time"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// pathInfo codes Nix's UnkeyedValidPathInfo: all fields except the path.
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

// keyedPathInfo codes Nix's ValidPathInfo.
func (c *codec) keyedPathInfo(info *store.PathInfo) {
	c.path("path", &info.Path)
	c.pathInfo(info)
}

// PathInfoVersion is the version of the path infos in the stream of
// [AddMultipleToStoreRequest]. It does not depend on the negotiated version.
var PathInfoVersion = MakeVersion(16)

// AppendPathInfo appends a path info in the format of the stream of
// [AddMultipleToStoreRequest]. For an invalid value the error is an [*Error], and dst is
// unchanged.
func (p Params) AppendPathInfo(dst []byte, info *store.PathInfo) ([]byte, error) {
	p.Version = PathInfoVersion
	c, form := p.encoder(dst, AddMultipleToStore, "path info")
	if c.keyedPathInfo(info); c.err != nil {
		return dst, c.err
	}
	return form.out, nil
}

// ReadPathInfo reads a path info written by [Params.AppendPathInfo]. Its reader is inside the
// frames. Errors are of type [*Error].
func (p Params) ReadPathInfo(r *wire.Reader) (*store.PathInfo, error) {
	p.Version = PathInfoVersion
	c := p.decoder(r, AddMultipleToStore, "path info")
	info := new(store.PathInfo)
	c.keyedPathInfo(info)
	return info, c.err
}

func (c *codec) buildMode(m *store.BuildMode) {
	number(c, "build mode", m, uint64(store.BuildCheck))
}

// derivedPaths is the first version in which a plain ".drv" path means the file itself. Before,
// it means all outputs of the derivation.
var derivedPaths = MakeVersion(30)

// derivedPath codes a path, or some outputs of a derivation, separated from it by '!'.
func (c *codec) derivedPath(p *derivation.DerivedPath) {
	const field = "derived path"
	var s string
	if c.encoding() && c.err == nil {
		var err error
		s, err = c.spellDerivedPath(*p)
		c.fail(field, err)
		if c.form.isText() && err == nil {
			s = (*p).String()
		}
	}
	c.limitedName(field, &s, MaxString)
	if c.encoding() || c.err != nil {
		return
	}
	parse := c.parseDerivedPath
	if c.form.isText() {
		parse = func(s string) (derivation.DerivedPath, error) { return derivation.ParseDerivedPath(c.Dir, s) }
	}
	got, err := parse(s)
	assign(c, field, p, got, err)
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
	return "", errors.New("not a path")
}

func (c *codec) spellBuilt(p derivation.Built) (string, error) {
	_, outputs, err := cutOutputs(p.Drv)
	if err != nil {
		return "", err
	}
	for _, name := range append(outputs, p.Outputs.Names().Slice()...) {
		if err := storepath.CheckName(name); err != nil { // a name with a "!" would be read as another path
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
				return "", errors.New("all outputs of a path that is not a derivation")
			}
			return string(drv.Path), nil
		}
	}
	return s, nil
}

// parseDerivedPath also parses a path as Nix 2.34 sends it, with '^' before all outputs except the last two.
func (c *codec) parseDerivedPath(s string) (derivation.DerivedPath, error) {
	if i := strings.LastIndexByte(s, '!'); i >= 0 {
		s = strings.ReplaceAll(s[:i], "^", "!") + s[i:]
	}
	p, err := derivation.ParseLegacyDerivedPath(c.Dir, s)
	if err != nil || c.Version >= derivedPaths {
		return p, err
	}
	if opaque, ok := p.(derivation.Opaque); ok && opaque.Path.IsDerivation() {
		p = derivation.Built{Drv: opaque, Outputs: derivation.AllOutputs()}
	}
	_, err = c.spellDerivedPath(p) // some well-formed paths cannot be expressed in this version
	return p, noVersion(err)
}

// noVersion turns an UnsupportedError into an ordinary error. The value was received, so
// nothing was held back from an old daemon.
func noVersion(err error) error {
	if unsupported, ok := err.(*UnsupportedError); ok {
		return errors.New(unsupported.What + " in protocol " + unsupported.Have.String())
	}
	return err
}

// buildResult codes Nix's BuildResult.
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
	if c.form.isText() {
		c.path(field, p)
		return
	}
	if c.encoding() {
		s := string(*p)
		if c.err == nil {
			_, err := c.Dir.Parse(s)
			c.fail(field, err)
		}
		s = strings.TrimPrefix(s, string(c.Dir)+"/")
		c.name(field, &s)
		return
	}
	text(c, field, p, storepath.Path.Base, c.Dir.ParseBase)
}

// narHash codes a SHA-256 in base 16 without the name of the algorithm.
func (c *codec) narHash(field string, h *nixhash.Hash) {
	if c.encoding() && c.err == nil && h.Algorithm() != nixhash.SHA256 {
		c.fail(field, errors.New("a NAR hash is a SHA-256"))
	}
	if c.err == nil {
		got, err := c.form.hash(field, *h)
		assign(c, field, h, got, err)
	}
}

func parseNARHash(s string) (nixhash.Hash, error) { return nixhash.ParseAny(s, nixhash.SHA256) }

// optionalContentAddress codes a content address, or "" for none.
func (c *codec) optionalContentAddress(field string, ca *storepath.ContentAddress) {
	text(c, field, ca, storepath.ContentAddress.String, func(s string) (storepath.ContentAddress, error) {
		if s == "" {
			return storepath.ContentAddress{}, nil
		}
		return storepath.ParseContentAddress(s)
	})
}

// time codes whole seconds since 1970, where 0 means unknown.
func (c *codec) time(field string, t *time.Time) {
	var n uint64
	if c.encoding() && !t.IsZero() {
		n = uint64(t.Unix())
	}
	c.limited(field, &n, math.MaxInt64)
	if c.decoding {
		*t = time.Time{}
		if n != 0 {
			*t = time.Unix(int64(n), 0).UTC()
		}
	}
}

// optionalDuration codes microseconds, or none.
func (c *codec) optionalDuration(field string, d **time.Duration) {
	present := *d != nil
	c.optional(field, &present)
	var micros uint64
	if c.encoding() && present {
		micros = uint64((*d).Microseconds())
	}
	if present {
		c.limited(field, &micros, math.MaxInt64/uint64(time.Microsecond))
	}
	if c.decoding {
		*d = nil
		if present && c.err == nil {
			took := time.Duration(micros) * time.Microsecond
			*d = &took
		}
	}
}
