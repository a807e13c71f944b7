package derivation

import (
	"fmt"
	"slices"
	"strings"

	"pix/storepath"
)

// ParseOptions say what [ParseOptions.Parse] demands of a text beyond what
// [Parse] does. A nil pointer demands nothing.
type ParseOptions struct {
	// Dir is the store directory in which all paths must lie; "" for any, but one.
	Dir storepath.Dir
	// Canonical refuses what no released Nix has written.
	Canonical bool
}

// Parse reads the text of a .drv file. It takes what Nix 2.34 takes, with the same
// meaning, and refuses what that refuses with a [*SyntaxError].
//
// Nix is lenient: it does not look at what follows the last parenthesis; commas may
// be missing, or stand before the first element of a list; lists may be in any order;
// of two outputs with one name the first counts, of two variables or input
// derivations the last; hashes may be in any encoding; paths may have "//", "." and
// ".." in them. [ParseCanonical] refuses all that.
//
// Differences to Nix: the value of [StructuredAttrsKey] is not looked at; a platform
// with a quote in it is refused, since no text that has it can be read again; so is a
// text of more than 4 GiB; and the store directory is that of the paths, which must all
// be in one.
//
// The result points into text. Name is left empty; see [ParseAt].
func Parse(text string) (*Derivation, error) { return (*ParseOptions)(nil).Parse(text) }

// ParseBytes does what [Parse] does with a copy of text.
func ParseBytes(text []byte) (*Derivation, error) { return Parse(string(text)) }

// ParseCanonical does what [Parse] does, and refuses what no released Nix has
// written with a [*NotCanonicalError]. What it takes is printed again to the same
// bytes.
func ParseCanonical(text string) (*Derivation, error) {
	return (&ParseOptions{Canonical: true}).Parse(text)
}

// ParseAt reads the text of the derivation that lies at path: all paths must be in
// the same store directory, and the name is that of the path. The error is a
// [*SyntaxError], or a [*storepath.Error] if path is not that of a derivation.
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

// NameOf returns the name of the derivation that lies at path. The error is a
// [*storepath.Error] if that does not end in ".drv".
func NameOf(path storepath.Path) (string, error) {
	name, ok := strings.CutSuffix(path.Name(), storepath.DerivationExt)
	if !ok {
		return "", &storepath.Error{Text: string(path), Reason: "it is no derivation, for its name does not end in .drv"}
	}
	return name, nil
}

// Parse does what the function [Parse] does, with these options.
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
		if err := p.canonical(d); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// parse reads the text. Most derivations have one output, one source, three arguments,
// and one variable with escapes at most: they are one allocation with these.
func (p *parser) parse() (*Derivation, error) {
	all := new(struct {
		derivation Derivation
		output     [1]Entry[string, Output]
		parsed     parsed
		odd        [1]Entry[string, string]
		source     [1]storepath.Path
		args       [3]string
		names      [2]string
	})
	d := &all.derivation
	d.Outputs.entries, d.InputSources.keys, d.Args = all.output[:0], all.source[:0], all.args[:0]
	p.parsed = &all.parsed
	p.parsed.text, p.parsed.oddVariables = p.text, all.odd[:0]
	p.names = all.names[:0]
	p.room = newRoom()
	if !p.derivation(d) {
		return nil, p.err
	}
	p.room.release()
	return d, nil
}

// derivation reads the whole text.
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
	p.makeMaps(d)
	if p.dir == "" {
		// Only a fixed output can say now in which directory the derivation lies.
		if claimed, err := storepath.Parse(string(p.fixed)); err == nil {
			p.dir = claimed.Dir()
		}
	}
	d.Dir = p.dir
	if dynamic && !d.IsDynamic() {
		p.notCanonical(0, "DrvWithVersion is written only for dynamic derivations")
	}
	if p.pos < len(p.text) {
		p.notCanonical(p.pos, "something follows the last parenthesis")
	}
	p.parsed.regular = p.note == nil
	return true
}

// header reads what stands before the outputs, and whether dynamic derivations may
// follow.
func (p *parser) header() (dynamic, ok bool) {
	if !strings.HasPrefix(p.text, "Dr") {
		if !strings.HasPrefix(p.text, "De") {
			return false, p.fail(0, "`Derive(` or `DrvWithVersion(`", "this is not the text of a derivation")
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
		return false, p.fail(start, `"`+dynamicVersion+`"`, fmt.Sprintf("unknown version %q", abridge(version)))
	}
	return true, p.expect(",[")
}

// dynamicVersion is the only version of the text that has a name.
const dynamicVersion = "xp-dyn-drv"

// spanTo returns the span from start to before the bracket that was just passed.
func (p *parser) spanTo(start int) span { return span{uint32(start), uint32(p.pos - 1)} }

func (p *parser) platform(d *Derivation) (ok bool) {
	start := p.pos
	if d.Platform, ok = p.plain(); !ok {
		return false
	}
	if strings.IndexByte(d.Platform, '"') >= 0 {
		return p.fail(start, "", "the platform has a quote in it, and a text that has it could not be read again")
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

// makeMaps makes the two maps of what was kept.
func (p *parser) makeMaps(d *Derivation) {
	all, room := p.parsed, p.room
	all.places, all.oddInputs = room.takePlaces(), copyOf(room.oddInputs)
	all.oddVariables = append(all.oddVariables, room.oddVariables...)
	all.inputSource, all.variableSource = (*parsedInputs)(all), (*parsedVariables)(all)
	d.InputDerivations.source, d.Env.source = &all.inputSource, &all.variableSource
	if p.inputDisorder {
		d.InputDerivations.sort()
	}
	if p.variableDisorder {
		d.Env.sort()
	}
}
