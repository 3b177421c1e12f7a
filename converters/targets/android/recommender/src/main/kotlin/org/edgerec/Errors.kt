package org.edgerec

/** A problem that the app can handle or report: its message says what happened, where, and what to do. */
open class EdgeRecException(message: String, cause: Throwable? = null) : Exception(message, cause)

/** The file is not a bundle, is damaged, or its parts do not fit together. */
class BundleException(message: String, cause: Throwable? = null) : EdgeRecException(message, cause)

/** The TFLite runtime is absent or refuses the model. */
class BackendException(message: String, cause: Throwable? = null) : EdgeRecException(message, cause)

/** A replacement model was refused; the one in service stays. */
class UpdateException(message: String, cause: Throwable? = null) : EdgeRecException(message, cause)
