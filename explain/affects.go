package explain

import (
	"context"
	"fmt"
	"slices"

	"pix/closure"
	"pix/derivation"
	"pix/internal/exactjson"
	"pix/internal/printable"
	"pix/storepath"
)

// An Influence lists the derivations of a closure that affect the output paths of one of them.
type Influence struct {
	Drv storepath.Path
	// Affecting are the derivations whose change changes the output paths. Others are only needed to build a fixed output, or none
	// of their outputs is used. Both are sorted.
	Affecting, Others []storepath.Path
}

// Affects returns which derivations of the closure of d affect its output paths. It returns the errors of [derivation.LoadClosure]
// and [closure.Affecting].
func Affects(ctx context.Context, d Drv) (*Influence, error) {
	load := func(ctx context.Context, path storepath.Path) (string, error) {
		if path == d.Path { // the file may have another name
			return d.String(), nil
		}
		return d.Inputs.LoadDerivation(ctx, path)
	}
	var limits *derivation.Limits
	if l, ok := d.Inputs.(derivation.LimitedLoader); ok {
		own, _ := l.ClosureLimits()
		limits = &own
	}
	drvs, err := derivation.LoadClosure(ctx, derivation.LoaderFunc(load), []storepath.Path{d.Path}, &derivation.ClosureOptions{Limits: limits})
	if err != nil {
		return nil, err
	}
	i := &Influence{Drv: d.Path}
	if i.Affecting, err = closure.Affecting(drvs, d.Path); err != nil {
		return nil, err
	}
	for path := range drvs.All() {
		if _, found := slices.BinarySearch(i.Affecting, path); !found {
			i.Others = append(i.Others, path)
		}
	}
	slices.Sort(i.Others)
	return i, nil
}

// AppendText appends the two lists with their lengths as text to dst.
func (i *Influence) AppendText(dst []byte, o *TextOptions) []byte {
	if o == nil {
		o = &TextOptions{}
	}
	p := textPrinter{dst: dst, options: o}
	p.line(0, printable.Line(string(i.Drv)))
	p.paths(fmt.Sprintf("derivations whose change changes its outputs: %d", len(i.Affecting)), i.Affecting)
	p.paths(fmt.Sprintf("derivations that are only needed for the build: %d", len(i.Others)), i.Others)
	return p.dst
}

// paths prints paths below a title.
func (p *textPrinter) paths(title string, paths []storepath.Path) {
	if len(paths) == 0 {
		return
	}
	p.line(0, p.paint(bold, title))
	shown := paths[:p.shownOf(len(paths))]
	for _, path := range shown {
		p.line(3, printable.Line(string(path)))
	}
	p.more(len(paths) - len(shown))
}

// MarshalJSON implements [json.Marshaler].
func (i *Influence) MarshalJSON() ([]byte, error) {
	others := i.Others
	if others == nil {
		others = []storepath.Path{}
	}
	return exactjson.Marshal(struct {
		Drv       storepath.Path   `json:"drv"`
		Affecting []storepath.Path `json:"affecting"`
		Others    []storepath.Path `json:"others"`
	}{i.Drv, i.Affecting, others})
}
