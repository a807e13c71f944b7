package explain

import (
	"fmt"
	"strings"

	"pix/internal/exactjson"
	"pix/internal/printable"
)

// AppendText appends the comparison as text to dst: each step that differs with the bytes around the first difference, and the
// steps that follow from earlier ones by name. All bytes of the explained objects are escaped.
func (c *Comparison) AppendText(dst []byte, o *TextOptions) []byte {
	if o == nil {
		o = &TextOptions{}
	}
	p := textPrinter{dst: dst, options: o}
	p.line(0, p.paint(red, "- "+printable.Line(c.A)))
	p.line(0, p.paint(green, "+ "+printable.Line(c.B)))
	equal := 0
	var consequences []string
	for i := range c.Steps {
		s := &c.Steps[i]
		switch s.Status {
		case Equal:
			equal++
		case Consequence:
			consequences = append(consequences, s.title())
		case Differs:
			p.difference(s)
		case OnlyA:
			p.line(0, p.paint(red, "- ")+s.title()+": only the first has this step")
		case OnlyB:
			p.line(0, p.paint(green, "+ ")+s.title()+": only the second has this step")
		}
	}
	if len(consequences) > 0 {
		p.prose(0, dim, "", "follow from it: "+strings.Join(consequences, "; "))
	}
	if equal > 0 {
		p.line(0, fmt.Sprintf("equal steps: %d", equal))
	}
	return p.dst
}

// title returns the title of a step with its output.
func (s *StepComparison) title() string {
	if s.Output == "" {
		return s.Title
	}
	return s.Title + " (" + printable.Line(s.Output) + ")"
}

// difference prints the bytes around the first difference of a step.
func (p *textPrinter) difference(s *StepComparison) {
	if s.Results[0] != s.Results[1] {
		p.line(0, p.paint(bold, s.title())+": has another result")
		p.line(3, p.paint(red, "- "+s.Results[0]))
		p.line(3, p.paint(green, "+ "+s.Results[1]))
		return
	}
	where := fmt.Sprintf("byte %d", s.Offset[0])
	if s.Offset[1] != s.Offset[0] {
		where += fmt.Sprintf(" of the first and byte %d of the second", s.Offset[1])
	}
	p.line(0, p.paint(bold, s.title())+": differs at "+where)
	for side, c := range []paintCode{red, green} {
		p.line(3, p.paint(c, "-+"[side:side+1])+" "+printable.Line(s.Before[side])+p.paint(c, "[")+printable.Line(s.After[side])+p.paint(c, "]"))
		if in := s.In[side]; in != nil {
			p.line(5, "in "+p.cut(in.Name, maxShownValue)+reasonOf(in)+fileOf(s, in))
		}
	}
}

// reasonOf returns the reason of an input in parentheses, or "".
func reasonOf(in *Input) string {
	if in.Reason == "" {
		return ""
	}
	return " (" + in.Reason + ")"
}

// fileOf returns the description of a file in an archive after a colon, and "" for other inputs.
func fileOf(s *StepComparison, in *Input) string {
	if s.Name != StepArchive {
		return ""
	}
	return ": " + printable.Line(in.Value)
}

// MarshalJSON implements [json.Marshaler]. Only a step with the status differs has the members of the first difference, or, if the
// texts are equal, the results.
func (s StepComparison) MarshalJSON() ([]byte, error) {
	type difference struct {
		Offset [2]int    `json:"offset"`
		Before [2]string `json:"before"`
		After  [2]string `json:"after"`
		In     [2]*Input `json:"in"`
	}
	var d *difference
	var results *[2]string
	if s.Results[0] != s.Results[1] {
		results = &s.Results
	} else if s.Status == Differs {
		d = &difference{Offset: s.Offset, In: s.In}
		for side := range d.Before {
			d.Before[side], d.After[side] = printable.Escape(s.Before[side]), printable.Escape(s.After[side])
		}
	}
	return exactjson.Marshal(struct {
		Name       StepName    `json:"name"`
		Output     *string     `json:"output"`
		Title      string      `json:"title"`
		Status     Status      `json:"status"`
		Difference *difference `json:"difference"`
		Results    *[2]string  `json:"results"`
	}{s.Name, orNull(jsonName(s.Output)), s.Title, s.Status, d, results})
}

// MarshalJSON implements [json.Marshaler].
func (c *Comparison) MarshalJSON() ([]byte, error) {
	steps := c.Steps
	if steps == nil {
		steps = []StepComparison{}
	}
	return exactjson.Marshal(struct {
		A     string           `json:"a"`
		B     string           `json:"b"`
		Equal bool             `json:"equal"`
		Steps []StepComparison `json:"steps"`
	}{jsonName(c.A), jsonName(c.B), c.First() == nil, steps})
}
