"""R's expressions: text to trees and back."""
