package explain

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Comparison is the comparison of two explanations, step by step.
type Comparison struct {
	A, B  string // the subjects
	Steps []StepComparison
}

// A StepComparison compares the steps of two explanations with the same name and output.
type StepComparison struct {
	Name   StepName
	Output string
	Title  string
	Status Status

	// Offset is the offset of the first byte that differs in both texts, if the Status is [Differs] and the texts are not equal.
	Offset [2]int
	// Before is the end of each text before that byte, and After the beginning of the rest.
	Before, After [2]string
	// Results are the results if only they differ, such as for a signature that only one of two sets of keys verifies. Else they are empty.
	Results [2]string
	// In is the input whose value has that byte, in each of the texts, or nil. For an archive it is the file that differs.
	In [2]*Input
}

// A Status says how a step of two explanations differs.
type Status string

// The statuses of steps.
const (
	Equal       Status = "equal"       // the texts are equal
	Consequence Status = "consequence" // the texts differ only in the results of earlier steps
	Differs     Status = "differs"     // the texts differ in another way
	OnlyA       Status = "only-a"      // only the first explanation has the step
	OnlyB       Status = "only-b"      // only the second one has it
)

// contextSize is the number of bytes that a comparison shows before and after the first difference.
const contextSize = 60

// Compare compares two explanations. Steps without a result are left out.
func Compare(a, b *Explanation) *Comparison {
	c := &Comparison{A: a.Subject, B: b.Subject}
	stepsA, stepsB := a.byKey(), b.byKey()
	for key, sa := range a.keys() {
		if sa.Op != OpShow {
			c.Steps = append(c.Steps, compareStep(a, b, sa, stepsB[key]))
		}
	}
	for key, sb := range b.keys() {
		if sb.Op != OpShow && stepsA[key] == nil {
			c.Steps = append(c.Steps, StepComparison{Name: sb.Name, Output: sb.Output, Title: sb.Title, Status: OnlyB})
		}
	}
	return c
}

// First returns the first step that differs and is not a consequence of another one, or nil if the explanations are equal.
func (c *Comparison) First() *StepComparison {
	for i := range c.Steps {
		if s := &c.Steps[i]; s.Status != Equal && s.Status != Consequence {
			return s
		}
	}
	return nil
}

// A stepKey is equal for the corresponding steps of two explanations.
type stepKey struct {
	name   StepName
	output string
	before int // earlier steps with the same name and output, such as other signatures by a key of that name
}

// keys returns the steps in order, with their keys.
func (e *Explanation) keys() iter.Seq2[stepKey, *Step] {
	return func(yield func(stepKey, *Step) bool) {
		seen := make(map[stepKey]int, len(e.Steps))
		for i := range e.Steps {
			s := &e.Steps[i]
			key := stepKey{name: s.Name, output: s.Output}
			seen[key]++
			key.before = seen[key] - 1
			if !yield(key, s) {
				return
			}
		}
	}
}

// byKey returns the steps by their keys.
func (e *Explanation) byKey() map[stepKey]*Step { return maps.Collect(e.keys()) }

// compareStep compares a step of the first explanation with the corresponding step of the second, which may be nil.
func compareStep(a, b *Explanation, sa, sb *Step) StepComparison {
	c := StepComparison{Name: sa.Name, Output: sa.Output, Title: sa.Title, Status: Equal}
	switch {
	case sb == nil:
		c.Status = OnlyA
	case sa.Text == sb.Text && sa.Op == sb.Op && sa.Result == sb.Result:
	case sa.Text == sb.Text:
		c.Status, c.Results = Differs, [2]string{sa.Result, sb.Result}
	default:
		ca, cb := &textCursor{explanation: a, parts: sa.parts()}, &textCursor{explanation: b, parts: sb.parts()}
		skipEqual(ca, cb)
		if c.Status = Consequence; ca.part < len(ca.parts) || cb.part < len(cb.parts) || sa.Op != sb.Op {
			c.Status = Differs
			c.locate(sa, sb, ca.offset, cb.offset)
			if sa.Name == StepArchive {
				c.In = differentFiles(a, b, int64(ca.offset))
			}
		}
	}
	return c
}

// locate sets where two texts differ.
func (c *StepComparison) locate(a, b *Step, offsetA, offsetB int) {
	c.Offset = [2]int{offsetA, offsetB}
	for side, s := range []*Step{a, b} {
		c.Before[side] = tailOf(s.Text[:c.Offset[side]])
		c.After[side] = headOf(s.Text[c.Offset[side]:])
		c.In[side] = s.inputAt(c.Offset[side])
	}
}

// differentFiles returns the first file of each archive that differs: the files whose contents have the byte at offset, where the
// archives differ first, or the first files with different names, kinds or sizes.
func differentFiles(a, b *Explanation, offset int64) (files [2]*Input) {
	both := [2][]Input{}
	for side, e := range []*Explanation{a, b} {
		if i := slices.IndexFunc(e.Steps, func(s Step) bool { return s.Name == StepFiles }); i >= 0 {
			both[side] = e.Steps[i].Inputs
		}
	}
	for i := range max(len(both[0]), len(both[1])) {
		files = [2]*Input{}
		for side, list := range both {
			if i < len(list) {
				files[side] = &list[i]
			}
		}
		if files[0] == nil || files[1] == nil || *files[0] != *files[1] {
			return files
		}
		if files[0].contents[0] <= offset && offset < files[0].contents[1] {
			return files
		}
	}
	return [2]*Input{}
}

// inputAt returns the input whose value covers the byte of the text at an offset, or nil. Of several it returns the one with the
// longest value.
func (s *Step) inputAt(offset int) (found *Input) {
	for i := range s.Inputs {
		in := &s.Inputs[i]
		if in.Value == "" || found != nil && len(in.Value) <= len(found.Value) {
			continue
		}
		from := max(0, offset-len(in.Value)+1)
		to := min(len(s.Text), offset+len(in.Value))
		if strings.Contains(s.Text[from:to], in.Value) {
			found = in
		}
	}
	return found
}

// headOf returns the first bytes of a text, at most contextSize, without a part of a character.
func headOf(s string) string {
	if len(s) <= contextSize {
		return s
	}
	n := contextSize
	for n > contextSize-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// tailOf returns the last bytes of a text, at most contextSize, without a part of a character.
func tailOf(s string) string {
	if len(s) <= contextSize {
		return s
	}
	n := len(s) - contextSize
	for n < len(s)-contextSize+utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n++
	}
	return s[n:]
}

// A textCursor is a position in the parts of a text.
type textCursor struct {
	explanation *Explanation
	parts       []textPart
	part        int // the current part
	at          int // the offset in a literal part
	offset      int // the offset in the text
}

// literal returns the rest of the current part, and whether it is literal.
func (c *textCursor) literal() (string, bool) {
	if c.part == len(c.parts) || c.parts[c.part].from > 0 {
		return "", false
	}
	return c.parts[c.part].text[c.at:], true
}

// source returns the step whose result is the current part, or nil.
func (c *textCursor) source() *Step {
	if c.part == len(c.parts) || c.parts[c.part].from == 0 {
		return nil
	}
	return &c.explanation.Steps[c.parts[c.part].from-1]
}

// skip advances the cursor by n bytes, which the current part must have.
func (c *textCursor) skip(n int) {
	c.at += n
	c.offset += n
	if c.at == len(c.parts[c.part].text) {
		c.part, c.at = c.part+1, 0
	}
}

// skipEqual advances both cursors to the first difference. Results of corresponding steps count as equal.
func skipEqual(a, b *textCursor) {
	for {
		textA, literalA := a.literal()
		textB, literalB := b.literal()
		if literalA && literalB {
			n := commonPrefix(textA, textB)
			if n == 0 {
				return
			}
			a.skip(n)
			b.skip(n)
			continue
		}
		sa, sb := a.source(), b.source()
		if sa == nil || sb == nil || sa.Name != sb.Name || sa.Output != sb.Output {
			return
		}
		a.skip(len(a.parts[a.part].text))
		b.skip(len(b.parts[b.part].text))
	}
}

// commonPrefix returns the length of the longest common prefix.
func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
