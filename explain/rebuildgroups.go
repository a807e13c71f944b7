package explain

import (
	"fmt"

	"pix/derivation"
	"pix/internal/printable"
)

// maxUngrouped is the number of causes of one kind that are printed one by one. Of more causes, the same number are examples.
const maxUngrouped = 3

// A causeKind is a kind of causes. A package collection that is updated has thousands of causes of one kind, such as added inputs.
type causeKind struct {
	what, field, key string
}

// String returns the causes in words, such as "added inputs".
func (k causeKind) String() string {
	switch {
	case k.what == "":
		return k.field
	case k.key != "":
		return k.what + " " + k.field + " " + printable.Line(k.key)
	}
	return k.what + " " + k.field
}

// kind returns the kind of a cause.
func (c *RootCause) kind() causeKind {
	switch {
	case c.Change == nil && c.Input.Err != nil:
		return causeKind{field: "inputs that could not be compared"}
	case c.Change == nil && c.Input.A == "":
		return causeKind{what: "added", field: "inputs"}
	case c.Change == nil && c.Input.B == "":
		return causeKind{what: "removed", field: "inputs"}
	case c.Change == nil:
		return causeKind{field: "inputs with other used outputs"}
	}
	field := c.Change.Field.String()
	switch {
	case !c.Change.InA:
		return causeKind{what: "added", field: field + "s"}
	case !c.Change.InB:
		return causeKind{what: "removed", field: field + "s"}
	case c.Change.Field == derivation.DiffVariable || c.Change.Field == derivation.DiffOutput:
		return causeKind{"changed", field, c.Change.Key}
	case c.Change.Field == derivation.DiffDir:
		return causeKind{what: "changed", field: "store directories"}
	}
	return causeKind{what: "changed", field: field + "s"}
}

// causes prints causes with their numbers. If a kind has many causes, it prints them together, in place of the first one.
func (p *textPrinter) causes(causes []RootCause) {
	kinds := map[causeKind][]*RootCause{}
	for i := range causes {
		k := causes[i].kind()
		kinds[k] = append(kinds[k], &causes[i])
	}
	number, shown := 0, 0
	for i := range causes {
		c := &causes[i]
		k := c.kind()
		same := kinds[k]
		isGroup := len(same) > maxUngrouped && !p.options.Full
		if isGroup && same[0] != c {
			continue
		}
		if number++; number > maxShownList && !p.options.Full {
			p.more(len(causes) - shown)
			return
		}
		prefix := fmt.Sprintf("%d. ", number)
		if !isGroup {
			shown++
			p.cause(0, prefix, c)
			continue
		}
		shown += len(same)
		p.line(0, fmt.Sprintf("%s%s: %d", prefix, k, len(same)))
		for _, c := range same[:maxUngrouped] {
			p.cause(3, "- ", c)
		}
		p.more(len(same) - maxUngrouped)
	}
}
