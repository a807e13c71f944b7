package daemon

import (
	"fmt"

	"pix/activity"
)

// eventOverhead is about what an event takes in memory besides its strings, in bytes.
const eventOverhead = 64

// eventSize returns about how many bytes of memory an event takes.
func eventSize(e activity.Event) int {
	size := eventOverhead
	switch e := e.(type) {
	case activity.Log:
		size += len(e.Text)
	case activity.Start:
		size += len(e.Text) + fieldsSize(e.Fields)
	case activity.Result:
		size += fieldsSize(e.Fields)
	}
	return size
}

func fieldsSize(fields []activity.Field) (size int) {
	for _, f := range fields {
		text, _ := f.Text()
		size += eventOverhead + len(text)
	}
	return size
}

// droppedText tells people what they miss.
func droppedText(n int) string {
	return fmt.Sprintf("(%d messages of the daemon were dropped: they came faster than they were taken)", n)
}
