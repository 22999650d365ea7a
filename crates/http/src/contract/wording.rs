//! Every sentence that the three documents promise.
//!
//! They are kept byte for byte, misspellings included: clients compare them, so that correcting one breaks
//! somebody's program.

pub const CONVERSATION_CREATED: &str = "Conversation created succesfully!!";
pub const CONVERSATION_UPDATED: &str = "Conversation updated successufully!!";
pub const CONVERSATION_DELETED: &str = "Conversation deleted Successfuly";
pub const CONVERSATION_ID_INVALID: &str = "ConversationId is Invalid";

pub const MESSAGE_CREATED: &str = "Message created succesfully!!";
pub const MESSAGE_UPDATED: &str = "Message updated successufully!!";
pub const MESSAGE_DELETED: &str = "Message deleted Successfuly";
pub const MESSAGE_ID_INVALID: &str = "MessageId is Invalid";

/// Bad input in the Conversation API and the Message API.
pub const VALIDATION_ERROR: &str = "Validation Error";
/// Bad input in the Chatbot API.
pub const VALIDATION_FAILURE: &str = "Validation failure";
pub const INVALID_ID: &str = "invalid id";

pub const SUCCESS: &str = "success";

/// An unknown session. Its message has a capital letter, unlike that of every other 404.
pub const SESSION_NOT_FOUND: &str = "Not found";
pub const SESSION_NOT_FOUND_ERROR: &str = "Conversation with your session_id is not found";
pub const NOT_FOUND: &str = "not found";
pub const NOT_FOUND_ERROR: &str = "data not found";

pub const UNAUTHENTICATED: &str = "unauthenticated";
pub const UNAUTHENTICATED_ERROR: &str = "Unathorized";
pub const FORBIDDEN: &str = "forbidden";
pub const FORBIDDEN_ERROR: &str = "Forbidden";

/// Somebody else has the conversation.
pub const CONFLICT: &str = "conflict";
pub const CLAIMED: &str = "claimed";

pub const BOT_UNAVAILABLE: &str = "bot unavailable";
