package main

import (
	"path"
	"strings"

	"pix/activity"
	"pix/storepath"
)

// A logPrefixer returns the lines for events of builds. Before each line of a log comes the name of its derivation, since
// the lines of parallel builds are mixed.
type logPrefixer struct {
	verbose bool                   // return a line for the start of every activity, not only of builds
	names   map[activity.ID]string // of running builds
}

// maxNames limits the names that a logPrefixer keeps. A daemon may start builds without end.
const maxNames = 1 << 14

// line returns the line for an event. ok is false if there is none.
func (l *logPrefixer) line(e activity.Event) (line string, ok bool) {
	switch e := e.(type) {
	case activity.Start:
		if e.Type == activity.Build && len(e.Fields) > 0 {
			drv, _ := e.Fields[0].Text()
			l.keep(e.ID, buildName(drv))
		}
		return e.Text, e.Text != "" && (l.verbose || e.Type == activity.Build)
	case activity.Stop:
		delete(l.names, e.ID)
		return "", false
	case activity.Result:
		line, ok = activity.Line(e)
		if name := l.names[e.ID]; ok && name != "" {
			line = name + "> " + line
		}
		return line, ok
	}
	return activity.Line(e)
}

func (l *logPrefixer) keep(id activity.ID, name string) {
	if l.names == nil {
		l.names = make(map[activity.ID]string)
	}
	if len(l.names) < maxNames {
		l.names[id] = name
	}
}

// buildName returns the name of a derivation without the hash part and the extension.
func buildName(drv string) string {
	base := strings.TrimSuffix(path.Base(drv), storepath.DerivationExt)
	if len(base) > storepath.HashPartLen && base[storepath.HashPartLen] == '-' {
		return base[storepath.HashPartLen+1:]
	}
	return base
}
