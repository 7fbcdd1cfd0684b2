//! The commands of `wellscope` beside the viewer itself: stream, run, ctl and demo.
