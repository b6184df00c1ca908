package mount

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// events reads server-sent events (WHATWG HTML §9.2): data, id and retry; names and comments say nothing here.
type events struct {
	r     *bufio.Reader
	limit int64 // of the data of one event, and of one line
	left  int64 // of the whole stream
	whole bool  // left counts

	id    string        // of the last event that had one
	retry time.Duration // how long to wait before the stream is opened anew
	goes  bool          // on after its end: retry was said
}

// longestRetry bounds what a server may ask for.
const longestRetry = 5 * time.Second

// newEvents reads events of at most limit bytes each; whole bounds the stream, 0 does not.
func newEvents(r io.Reader, limit, whole int64) *events {
	return &events{r: bufio.NewReaderSize(r, 4<<10), limit: limit, left: whole, whole: whole > 0}
}

// next returns the data of the next event; nil without an error is an event without data. The bytes are the caller's.
func (e *events) next() ([]byte, error) {
	var data []byte
	some := false
	for {
		line, err := e.line()
		if err != nil {
			return nil, err
		}
		if len(line) == 0 {
			return data, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "data":
			if some {
				data = append(data, '\n')
			}
			some = true
			if data = append(data, value...); int64(len(data)) > e.limit {
				return nil, errTooLong
			}
		case "id":
			e.setID(value)
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				e.retry, e.goes = min(time.Duration(ms)*time.Millisecond, longestRetry), true
			}
		}
	}
}

// setID takes an id that can stand in a header.
func (e *events) setID(value []byte) {
	for _, c := range value {
		if c < ' ' || c >= 0x7f {
			return
		}
	}
	if len(value) <= 1024 {
		e.id = string(value)
	}
}

// line reads a line without its end, which is LF, CRLF or CR before LF; an event that the end of the stream cuts off
// is none.
func (e *events) line() ([]byte, error) {
	var line []byte
	for {
		part, err := e.r.ReadSlice('\n')
		if e.left -= int64(len(part)); e.whole && e.left < 0 {
			return nil, errTooLong
		}
		line = append(line, part...)
		if int64(len(line)) > e.limit+16 {
			return nil, errTooLong
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return nil, errNoAnswer
		case err != nil:
			return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
}
