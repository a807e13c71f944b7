package monitor

import "time"

// An Event is a report of a monitor. Exactly one of the pointers is set.
type Event struct {
	Time time.Time `json:"time"`
	Conn int       `json:"connection"` // the number of the connection, from 1

	Client    *Client    `json:"client,omitempty"`    // a client has connected
	Failure   *Failure   `json:"failure,omitempty"`   // the client was refused, or the daemon did not accept it
	Handshake *Handshake `json:"handshake,omitempty"` // the handshake has ended
	Operation *Operation `json:"operation,omitempty"` // an operation has ended
	Raw       *Raw       `json:"raw,omitempty"`       // bytes that the monitor does not understand
	Close     *Close     `json:"close,omitempty"`     // the connection has ended
}

// A Client is the process that has connected. The system reports the ids of the moment of the
// connection. The monitor reads the other fields a moment later.
type Client struct {
	PID     int      `json:"pid"` // 0 if it is unknown, or in another PID namespace
	UID     int      `json:"uid"` // -1 if it is unknown
	GID     int      `json:"gid"` // -1 if it is unknown
	User    string   `json:"user,omitempty"`
	Command []string `json:"command,omitempty"` // its arguments, at most 4 KiB
}

// A Failure says why the monitor did not connect a client to the daemon.
type Failure struct {
	Reason string `json:"reason"`
}

// A Handshake has the versions and features that client and daemon have exchanged.
type Handshake struct {
	ClientVersion  string   `json:"clientVersion"`
	DaemonVersion  string   `json:"daemonVersion"`
	Version        string   `json:"version"` // the negotiated one
	ClientFeatures []string `json:"clientFeatures,omitempty"`
	DaemonFeatures []string `json:"daemonFeatures,omitempty"`
	Nix            string   `json:"nix,omitempty"` // the version of the daemon's program
	Trust          string   `json:"trust"`         // what the daemon has answered: trusted, not trusted or unknown
	Error          string   `json:"error,omitempty"`
}

// An Operation is a request and its result.
type Operation struct {
	Name    string `json:"name"`
	Number  uint64 `json:"number"`
	Request string `json:"request"`         // the fields, in the form of protocol.Params.TraceRequest
	Reply   string `json:"reply,omitempty"` // the fields of the reply
	Error   string `json:"error,omitempty"` // the message of the daemon
	// Unfinished says why the operation has no result: the connection ended, or the monitor did
	// not understand it any further.
	Unfinished string `json:"unfinished,omitempty"`

	Start time.Time `json:"start"` // when the request was complete
	// Latency is the time from the end of the request, without its body, to the end of the
	// reply. If the client sends requests ahead, it includes the earlier ones.
	Latency  time.Duration `json:"latency"`
	Up       int64         `json:"up"`   // bytes of the request and its body
	Down     int64         `json:"down"` // bytes of the messages, the reply and the archive
	Messages int           `json:"messages"`
	Logs     int           `json:"logs"` // log lines, also of builds
}

// Raw is a piece of a connection that the monitor does not understand. Everything after it is
// raw, too.
type Raw struct {
	Reason string    `json:"reason,omitempty"` // in the first event: why
	From   Direction `json:"from"`
	Size   int64     `json:"size"`            // in bytes
	Start  []byte    `json:"start,omitempty"` // the first bytes, at most 64
}

// Close describes a connection that has ended.
type Close struct {
	By         Direction     `json:"by"` // the side that closed it first
	Reason     string        `json:"reason,omitempty"`
	Up         int64         `json:"up"`   // bytes from the client
	Down       int64         `json:"down"` // bytes from the daemon
	Operations int           `json:"operations"`
	Duration   time.Duration `json:"duration"`
}

// A Direction says which side has sent something.
type Direction uint8

// The sides of a connection.
const (
	FromClient Direction = iota
	FromDaemon
)

func (d Direction) String() string {
	if d == FromDaemon {
		return "daemon"
	}
	return "client"
}

// MarshalText returns "client" or "daemon".
func (d Direction) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "daemon". Any other text is the client.
func (d *Direction) UnmarshalText(b []byte) error {
	*d = FromClient
	if string(b) == FromDaemon.String() {
		*d = FromDaemon
	}
	return nil
}

func (d Direction) arrow() string {
	if d == FromDaemon {
		return "←"
	}
	return "→"
}
