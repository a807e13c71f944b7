package main

import (
	"encoding/hex"
	"time"

	"pix/monitor"
)

// A monitorJSON is an event in the output of monitor --json. The member event says which other members there are.
type monitorJSON struct {
	Event      string  `json:"event"`
	Time       float64 `json:"time"` // in seconds since 1970
	Connection int     `json:"connection"`
}

type monitorConnectJSON struct {
	monitorJSON
	PID     *int     `json:"pid"`
	UID     *int     `json:"uid"`
	GID     *int     `json:"gid"`
	User    *string  `json:"user"`
	Command []string `json:"command"`
}

type monitorFailureJSON struct {
	monitorJSON
	Error string `json:"error"`
}

type monitorHandshakeJSON struct {
	monitorJSON
	Version        string   `json:"version"`
	ClientVersion  string   `json:"clientVersion"`
	DaemonVersion  string   `json:"daemonVersion"`
	ClientFeatures []string `json:"clientFeatures"`
	DaemonFeatures []string `json:"daemonFeatures"`
	Nix            *string  `json:"nixVersion"`
	Trust          string   `json:"trust"`
	Error          *string  `json:"error"`
}

type monitorOperationJSON struct {
	monitorJSON
	Operation  string  `json:"operation"`
	Number     uint64  `json:"number"`
	Request    string  `json:"request"`
	Reply      *string `json:"reply"`
	Error      *string `json:"error"`
	Unfinished *string `json:"unfinished"`
	Start      float64 `json:"start"`
	Seconds    float64 `json:"seconds"`
	Up         int64   `json:"up"`
	Down       int64   `json:"down"`
	Messages   int     `json:"messages"`
	Logs       int     `json:"logs"`
}

type monitorRawJSON struct {
	monitorJSON
	Reason *string `json:"reason"`
	From   string  `json:"from"`
	Size   int64   `json:"size"`
	Start  string  `json:"startBytes"` // in base 16
}

type monitorCloseJSON struct {
	monitorJSON
	By         string  `json:"by"`
	Reason     *string `json:"reason"`
	Operations int     `json:"operations"`
	Seconds    float64 `json:"seconds"`
	Up         int64   `json:"up"`
	Down       int64   `json:"down"`
}

type monitorSummaryJSON struct {
	Event       string             `json:"event"`
	Connections int                `json:"connections"`
	Open        int                `json:"open"`
	Failed      int                `json:"failed"`
	Raw         int                `json:"raw"`
	Up          int64              `json:"up"`
	Down        int64              `json:"down"`
	Operations  []monitorTotalJSON `json:"operations"`
}

type monitorTotalJSON struct {
	Operation string  `json:"operation"`
	Count     int     `json:"count"`
	Errors    int     `json:"errors"`
	Seconds   float64 `json:"seconds"`
	Longest   float64 `json:"longestSeconds"`
	Up        int64   `json:"up"`
	Down      int64   `json:"down"`
	Histogram []int   `json:"histogram"`
}

// newMonitorJSON returns the object of an event.
func newMonitorJSON(e *monitor.Event) any {
	head := monitorJSON{Time: unixSeconds(e.Time), Connection: e.Conn}
	switch {
	case e.Client != nil:
		head.Event = "connect"
		c := e.Client
		return monitorConnectJSON{head, orNoPID(c.PID), orNoID(c.UID), orNoID(c.GID), orNull(c.User), notNull(c.Command)}
	case e.Failure != nil:
		head.Event = "failure"
		return monitorFailureJSON{head, e.Failure.Reason}
	case e.Handshake != nil:
		head.Event = "handshake"
		h := e.Handshake
		return monitorHandshakeJSON{
			head, h.Version, h.ClientVersion, h.DaemonVersion, notNull(h.ClientFeatures), notNull(h.DaemonFeatures),
			orNull(h.Nix), h.Trust, orNull(h.Error),
		}
	case e.Operation != nil:
		head.Event = "operation"
		op := e.Operation
		return monitorOperationJSON{
			head, op.Name, op.Number, op.Request, orNull(op.Reply), orNull(op.Error), orNull(op.Unfinished),
			unixSeconds(op.Start), op.Latency.Seconds(), op.Up, op.Down, op.Messages, op.Logs,
		}
	case e.Raw != nil:
		head.Event = "raw"
		return monitorRawJSON{head, orNull(e.Raw.Reason), e.Raw.From.String(), e.Raw.Size, hex.EncodeToString(e.Raw.Start)}
	}
	head.Event = "close"
	c := e.Close
	return monitorCloseJSON{head, c.By.String(), orNull(c.Reason), c.Operations, c.Duration.Seconds(), c.Up, c.Down}
}

// newMonitorSummaryJSON returns the object of the totals.
func newMonitorSummaryJSON(s monitor.Summary) monitorSummaryJSON {
	j := monitorSummaryJSON{"summary", s.Connections, s.Open, s.Failed, s.Raw, s.Up, s.Down, make([]monitorTotalJSON, len(s.Operations))}
	for i, o := range s.Operations {
		j.Operations[i] = monitorTotalJSON{o.Name, o.Count, o.Errors, o.Time.Seconds(), o.Longest.Seconds(), o.Up, o.Down, o.Histogram}
	}
	return j
}

// notNull returns a list that is not null in JSON.
func notNull(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// unixSeconds returns a time in microseconds, as a number of seconds. A trace has only times of day.
func unixSeconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func orNoID(id int) *int {
	if id < 0 {
		return nil
	}
	return &id
}
