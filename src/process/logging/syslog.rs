use std::io;
pub(super) struct SyslogWriter;
impl SyslogWriter {
    pub fn open() -> io::Result<SyslogWriter> {
        Ok(SyslogWriter)
    }
    pub fn send(&self, _level: log::Level, _message: &str) -> io::Result<()> {
        Ok(())
    }
}
