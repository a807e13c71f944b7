package monitor

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"pix/internal/redact"
)

// maxLine is the length in bytes of the request, the reply or the error in a line of text.
const maxLine = 512

// String returns the event as one line. Everything that a client, a daemon or the writer of a recording
// can choose is quoted, so that it cannot control a terminal or look like another line.
func (e *Event) String() string {
	var text string
	switch {
	case e.Client != nil:
		text = "connect " + e.Client.text()
	case e.Failure != nil:
		text = "failed " + plain(e.Failure.Reason)
	case e.Handshake != nil:
		text = "handshake " + e.Handshake.text()
	case e.Operation != nil:
		text = e.Operation.text()
	case e.Raw != nil:
		text = e.Raw.text()
	case e.Close != nil:
		text = e.Close.text()
	}
	return e.Time.Format("15:04:05.000000") + " " + strconv.Itoa(e.Conn) + " " + text
}

func (c *Client) text() string {
	id := "user " + plain(cmp.Or(c.User, "unknown"))
	if c.PID > 0 {
		id = fmt.Sprintf("pid %d, %s", c.PID, id)
	}
	if len(c.Command) == 0 {
		return id
	}
	args := make([]string, len(c.Command))
	for i, arg := range c.Command {
		args[i] = quoteWord(arg)
	}
	return id + ": " + shorten(strings.Join(args, " "))
}

func (h *Handshake) text() string {
	text := plain(h.Version)
	if h.ClientVersion != h.DaemonVersion {
		text += fmt.Sprintf(" (client %s, daemon %s)", plain(h.ClientVersion), plain(h.DaemonVersion))
	}
	if h.Nix != "" {
		text += ", Nix " + quoteWord(shorten(h.Nix))
	}
	text += ", trust: " + plain(h.Trust)
	if slices.Equal(h.ClientFeatures, h.DaemonFeatures) {
		text += showFeatures("", h.DaemonFeatures)
	} else {
		text += showFeatures(" of the client", h.ClientFeatures) + showFeatures(" of the daemon", h.DaemonFeatures)
	}
	if h.Error != "" {
		text += ", error: " + plain(h.Error)
	}
	return text
}

func showFeatures(of string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ", features" + of + ": " + plain(strings.Join(names, " "))
}

func (op *Operation) text() string {
	b := make([]byte, 0, 256)
	b = append(b, plain(op.Name)...)
	if op.Request != "" {
		b = append(append(b, ' '), plain(op.Request)...)
	}
	switch {
	case op.Error != "":
		b = append(append(b, " ✗ "...), plain(op.Error)...)
	case op.Unfinished != "":
		b = append(append(b, " ✗ "...), plain(op.Unfinished)...)
	case op.Reply != "":
		b = append(append(b, " ⇒ "...), plain(op.Reply)...)
	default:
		b = append(b, " ⇒ done"...)
	}
	b = append(append(b, " ("...), showTime(op.Latency)...)
	b = append(append(b, ", up "...), showSize(op.Up)...)
	b = append(append(b, ", down "...), showSize(op.Down)...)
	if op.Logs > 0 {
		b = append(append(b, ", "...), count(op.Logs, "log line")...)
	}
	return string(append(b, ')'))
}

func (r *Raw) text() string {
	if r.Reason != "" {
		return fmt.Sprintf("raw from here, because of the %s: %s", r.From, plain(r.Reason))
	}
	start, more := r.Start[:min(len(r.Start), rawStart)], ""
	if int64(len(start)) < r.Size {
		more = "…"
	}
	return fmt.Sprintf("raw %s %s %s%s", r.From.arrow(), showSize(r.Size), strconv.QuoteToASCII(string(start)), more)
}

func (c *Close) text() string {
	text := fmt.Sprintf("closed by the %s: %s, up %s, down %s, %s", c.By, count(c.Operations, "operation"), showSize(c.Up), showSize(c.Down), showTime(c.Duration))
	if c.Reason != "" {
		text += ", " + plain(c.Reason)
	}
	return text
}

// plain returns a text as a part of a line: shortened, and with everything escaped that is not
// printable.
func plain(s string) string {
	s = shorten(strings.TrimSpace(s))
	if isPlainASCII(s) { // nearly always
		return s
	}
	if strings.IndexFunc(s, isUnsafe) < 0 && utf8.ValidString(s) {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// quoteWord returns a text as one word of a line.
func quoteWord(s string) string {
	if s == "" || strings.IndexFunc(s, func(r rune) bool { return isUnsafe(r) || r == ' ' || r == '"' }) >= 0 || !utf8.ValidString(s) {
		return strconv.Quote(s)
	}
	return s
}

func isPlainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func isUnsafe(r rune) bool { return r != ' ' && (!unicode.IsPrint(r) || r == utf8.RuneError) }

// shorten cuts a long text and says how much is missing.
func shorten(s string) string {
	if len(s) <= maxLine {
		return s
	}
	cut := maxLine
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s…(%d bytes)", s[:cut], len(s))
}

// count returns a number with a noun, in the plural unless the number is 1.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}

func showTime(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + " µs"
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func showSize(n int64) string {
	const unit = 1024
	if n < 10*unit {
		return strconv.FormatInt(n, 10) + " B"
	}
	f, i := float64(n)/unit, 0
	for ; f >= unit && i < 3; i++ {
		f /= unit
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGT"[i])
}

// shownFields returns a line of a trace without its first word and without passwords.
func shownFields(line string) string {
	_, rest, _ := strings.Cut(line, " ")
	return redact.Text(rest)
}
