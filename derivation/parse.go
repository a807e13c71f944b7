package derivation

import (
	"fmt"
	"slices"
	"strings"

	"pix/storepath"
)

// ParseOptions are the options of [ParseOptions.Parse]. A nil pointer is the zero value.
type ParseOptions struct {
	// Dir is the store directory of all paths. If it is "", they may lie in any store
	// directory, but all in the same one.
	Dir storepath.Dir
	// Canonical rejects texts that no released Nix would have written.
	Canonical bool
}

// Parse parses the text of a .drv file. It accepts what Nix 2.34 accepts, with the same meaning.
// The error is a [*SyntaxError].
//
// Nix is lenient: it ignores everything after the last parenthesis; commas may be missing, or
// precede the first element of a list; lists may be unsorted; if there are several entries with
// one name, the first output counts, and the last variable or input derivation; hashes may be in
// any encoding; paths may contain "//", "." and "..". [ParseCanonical] rejects all of these.
//
// Parse differs from Nix in a few points: it does not parse the value of [StructuredAttrsKey]; it
// rejects a platform that contains a quote, because the derivation could not be written and
// parsed again; it rejects texts of more than 4 GiB; and the store directory is the directory of
// the paths, which must be the same for all.
//
// The result points into text. Its Name is empty; see [ParseAt].
func Parse(text string) (*Derivation, error) { return (*ParseOptions)(nil).Parse(text) }

// ParseBytes parses a copy of text with [Parse].
func ParseBytes(text []byte) (*Derivation, error) { return Parse(string(text)) }

// ParseCanonical is like [Parse], but returns a [*NotCanonicalError] for a text that no released
// Nix would have written. Printing the result returns the same text.
func ParseCanonical(text string) (*Derivation, error) {
	return (&ParseOptions{Canonical: true}).Parse(text)
}

// ParseAt parses the text of the derivation at path. All paths must lie in the store directory of
// path. The Name of the result is the name of path. The error is a [*SyntaxError], or a
// [*storepath.Error] if path is not the path of a derivation.
func ParseAt(path storepath.Path, text string) (*Derivation, error) {
	name, err := NameOf(path)
	if err != nil {
		return nil, err
	}
	d, err := (&ParseOptions{Dir: path.Dir()}).Parse(text)
	if err != nil {
		return nil, err
	}
	d.Name = name
	return d, nil
}

// NameOf returns the name of the derivation at path. The error is a [*storepath.Error] if path
// does not end in ".drv".
func NameOf(path storepath.Path) (string, error) {
	name, ok := strings.CutSuffix(path.Name(), storepath.DerivationExt)
	if !ok {
		return "", &storepath.Error{Text: string(path), Reason: "it is not a derivation, because its name does not end in .drv"}
	}
	return name, nil
}

// Parse parses text like the function [Parse], with these options.
func (o *ParseOptions) Parse(text string) (*Derivation, error) {
	if o == nil {
		o = &ParseOptions{}
	}
	p := newParser(text, o.Dir)
	d, err := p.parse()
	if err != nil {
		return nil, err
	}
	if o.Canonical {
		if err := p.checkCanonical(d); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// parse parses the text. It allocates the derivation together with the lists of a usual one: one
// output, one source, three arguments, and at most one variable with escapes.
func (p *parser) parse() (*Derivation, error) {
	all := new(struct {
		derivation Derivation
		output     [1]Entry[string, Output]
		parsed     parsed
		irregular  [1]Entry[string, string]
		source     [1]storepath.Path
		args       [3]string
		names      [2]string
	})
	d := &all.derivation
	d.Outputs.entries, d.InputSources.keys, d.Args = all.output[:0], all.source[:0], all.args[:0]
	p.parsed = &all.parsed
	p.parsed.text, p.parsed.irregularVariables = p.text, all.irregular[:0]
	p.names = all.names[:0]
	p.scratch = newScratch()
	if !p.derivation(d) {
		return nil, p.err
	}
	p.scratch.release()
	return d, nil
}

// derivation parses the whole text.
func (p *parser) derivation(d *Derivation) bool {
	if int64(len(p.text)) > maxText {
		return p.fail(0, "", "the text is longer than 4 GiB")
	}
	dynamic, ok := p.header()
	if !ok || !p.outputs(d) || !p.expect(",[") || !p.inputDerivations(dynamic) ||
		!p.expect(",[") || !p.inputSources(d) || !p.expect(",") || !p.platform(d) || !p.expect(",") {
		return false
	}
	if d.Builder, ok = p.string(); !ok {
		return false
	}
	if !p.expect(",[") || !p.args(d) || !p.expect(",[") || !p.env() || !p.expect(")") {
		return false
	}
	p.setMaps(d)
	if p.dir == "" {
		// Without other paths, the path of a fixed output determines the store directory.
		if claimed, err := storepath.Parse(string(p.fixed)); err == nil {
			p.dir = claimed.Dir()
		}
	}
	d.Dir = p.dir
	if dynamic && !d.IsDynamic() {
		p.notCanonical(0, "DrvWithVersion is written only for dynamic derivations")
	}
	if p.pos < len(p.text) {
		p.notCanonical(p.pos, "there is text after the last parenthesis")
	}
	p.parsed.canonical = p.deviation == nil
	return true
}

// damage says how a power cut may have damaged a file with this text; "" if nothing suggests that.
func damage(text string) string {
	switch {
	case text == "":
		return ", since it is empty, perhaps after a power cut"
	case strings.Trim(text, "\x00") == "":
		return ", since it consists of zero bytes, as after a power cut"
	}
	return ""
}

// header reads the text before the outputs. dynamic reports whether dynamic outputs may follow.
func (p *parser) header() (dynamic, ok bool) {
	if !strings.HasPrefix(p.text, "Dr") {
		if !strings.HasPrefix(p.text, "De") {
			return false, p.fail(0, "`Derive(` or `DrvWithVersion(`", "this is not the text of a derivation"+damage(p.text))
		}
		return false, p.expect("Derive([")
	}
	if !p.expect("DrvWithVersion(") {
		return false, false
	}
	start := p.pos
	version, ok := p.plain()
	if !ok {
		return false, false
	}
	if version != dynamicVersion {
		return false, p.fail(start, `"`+dynamicVersion+`"`, fmt.Sprintf("unknown version %q", truncate(version)))
	}
	return true, p.expect(",[")
}

// dynamicVersion is the only named version of the format.
const dynamicVersion = "xp-dyn-drv"

// spanTo returns the span from start to the bracket that was just read.
func (p *parser) spanTo(start int) span { return span{uint32(start), uint32(p.pos - 1)} }

func (p *parser) platform(d *Derivation) (ok bool) {
	start := p.pos
	if d.Platform, ok = p.plain(); !ok {
		return false
	}
	if strings.IndexByte(d.Platform, '"') >= 0 {
		return p.fail(start, "", "the platform contains a quote, so the derivation could not be written and parsed again")
	}
	return true
}

func (p *parser) args(d *Derivation) bool {
	for first := true; p.more(first); first = false {
		arg, ok := p.string()
		if !ok {
			return false
		}
		d.Args = appendTo(d.Args, arg)
	}
	d.Args = slices.Clip(d.Args)
	return true
}

// setMaps sets the maps of inputs and variables to the collected entries.
func (p *parser) setMaps(d *Derivation) {
	all, scratch := p.parsed, p.scratch
	all.locations, all.irregularInputs = scratch.takeLocations(), copyOf(scratch.irregularInputs)
	all.irregularVariables = append(all.irregularVariables, scratch.irregularVariables...)
	all.inputSource, all.variableSource = (*parsedInputs)(all), (*parsedVariables)(all)
	d.InputDerivations.source, d.Env.source = &all.inputSource, &all.variableSource
	if p.inputsUnsorted {
		d.InputDerivations.sort()
	}
	if p.variablesUnsorted {
		d.Env.sort()
	}
}
