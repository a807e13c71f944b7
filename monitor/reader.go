package monitor

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxRecorded limits the length in bytes of a line with an event. Longer lines of a trace are
// skipped.
const maxRecorded = 64 << 20

// ReadRecording reads a recording, and calls handle for each event until it returns an error. The
// status comes from the first line: [StatusComplete], or why the recording is not complete. From a
// trace without events, such as one of pix --trace, ReadRecording reads the events that its lines show.
//
// The error is the one of r or of handle, or it names the line that is malformed.
func ReadRecording(r io.Reader, handle func(*Event) error) (status string, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	first, err := readLine(in)
	if err != nil && err != io.EOF {
		return "", err
	}
	status, recorded := strings.CutPrefix(first, headerPrefix)
	if !recorded {
		return StatusComplete, readTrace(in, first, handle)
	}
	status = plain(status) // of a file that another user may have written
	for n := 2; ; n++ {
		line, err := readLine(in)
		if text, ok := strings.CutPrefix(line, eventPrefix); ok && err != io.EOF { // the last line may be incomplete
			e, err := parseEvent(text)
			if err != nil {
				return status, fmt.Errorf("line %d is not an event: %w", n, err)
			}
			if err := handle(e); err != nil {
				return status, err
			}
		}
		if err == io.EOF {
			return status, nil
		}
		if err != nil {
			return status, err
		}
	}
}

// parseEvent reads an event. It checks what programs rely on: exactly one pointer is set.
func parseEvent(text string) (*Event, error) {
	e := new(Event)
	if err := json.Unmarshal([]byte(text), e); err != nil {
		return nil, errors.New(plain(err.Error())) // it may repeat a long text of the file
	}
	set := 0
	for _, isSet := range []bool{e.Client != nil, e.Failure != nil, e.Handshake != nil, e.Operation != nil, e.Raw != nil, e.Close != nil} {
		if isSet {
			set++
		}
	}
	if set != 1 {
		return nil, fmt.Errorf("it describes %d events", set)
	}
	return e, nil
}

// readLine reads a line without its end. Of a line that is too long it returns the start.
func readLine(in *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line) <= maxRecorded {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return strings.TrimRight(string(line), "\r\n"), err
	}
}
